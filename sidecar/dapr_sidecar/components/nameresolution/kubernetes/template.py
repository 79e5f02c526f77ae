"""Addresses made from a template: the part of Go's text/template that addresses need. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_ACTION = re.compile(
    r"\{\{(?:(?P<before>-)\s)?\s*(?P<what>.*?)\s*(?:\s(?P<after>-))?\}\}", re.DOTALL
)
_FIELD = re.compile(r"\.(ID|Namespace|Port|Data\.\w+)")
_NO_VALUE = "<no value>"  # Go's word for an entry that a map has not


class TemplateError(ValueError):
    """The template uses what addresses cannot be made from; the text names it."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a template is filled with."""

    app_id: str
    namespace: str
    port: int


class AddressTemplate:
    """Raises ``TemplateError`` for anything but ``{{.ID}}``, ``{{.Namespace}}``, ``{{.Port}}``
    and ``{{.Data.key}}``; nothing in a sidecar gives data, so an entry is ``<no value>``.
    """

    def __init__(self, text: str) -> None:
        self.uses_data = False
        self._parts: list[Callable[[Target], str]] = []
        position, trims = 0, False
        for action in _ACTION.finditer(text):
            literal = text[position : action.start()]
            self._literal(literal.lstrip() if trims else literal, before=bool(action["before"]))
            self._parts.append(self._field(action["what"]))
            position, trims = action.end(), bool(action["after"])
        rest = text[position:]
        self._literal(rest.lstrip() if trims else rest)

    def render(self, target: Target) -> str:
        """The address of a target."""
        return "".join(part(target) for part in self._parts)

    def _literal(self, text: str, *, before: bool = False) -> None:
        if "{{" in text:
            raise TemplateError(f"invalid 'template': unclosed action: '{text}'")
        kept = text.rstrip() if before else text
        self._parts.append(lambda target: kept)

    def _field(self, what: str) -> Callable[[Target], str]:
        field = _FIELD.fullmatch(what)
        if field is None:
            raise TemplateError(
                f"invalid 'template': '{{{{{what}}}}}' is not supported: use {{{{.ID}}}}, "
                "{{.Namespace}}, {{.Port}} or {{.Data.key}}"
            )
        if field[1] == "ID":
            return lambda target: target.app_id
        if field[1] == "Namespace":
            return lambda target: target.namespace
        if field[1] == "Port":
            return lambda target: str(target.port)
        self.uses_data = True
        return lambda target: _NO_VALUE
