"""What is wrong with an object, field by field; and reading one without trusting its shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dapr_common.kube.validation.near import Hints

Severity = Literal["error", "warning"]
Reason = Literal[
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueNotFound",
    "FieldValueNotSupported",
    "FieldValueRequired",
]
"""What is wrong, in the API server's own words for causes."""
_LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One field: an error when no sidecar could use the object, else a warning."""

    path: str
    message: str
    severity: Severity = "error"
    reason: Reason = "FieldValueInvalid"

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class Problems:
    """Collects them."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self.hints = Hints()

    def error(self, path: str, message: str, reason: Reason = "FieldValueInvalid") -> None:
        """The object cannot be used."""
        self.found.append(Problem(path, message, "error", reason))

    def warning(self, path: str, message: str) -> None:
        """The object can be used, but probably not as it is meant."""
        self.found.append(Problem(path, message, "warning"))


@dataclass(frozen=True, slots=True)
class Node:
    """A value at a path. Reading a field that has the wrong shape reports it and yields nothing."""

    value: Mapping[str, Any]
    path: str
    problems: Problems

    def at(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        """Whether a field is there and not null."""
        return self.value.get(name) is not None

    def node(self, name: str) -> Node:
        """A field that is an object; an empty one when it is not there."""
        return self._node(self.value.get(name), self.at(name))

    def nodes(self, name: str) -> list[Node]:
        """A field that is a list of objects."""
        return [self._node(value, path) for value, path in self._list(name)]

    def entries(self, name: str) -> Iterator[tuple[str, Any, str]]:
        """A field that is a map: key, value and path of each entry."""
        below = self.node(name)
        for key, value in below.value.items():
            yield str(key), value, f"{below.path}.{key}"

    def texts(self, name: str) -> list[tuple[str, str]]:
        """A field that is a list of texts, each with its path."""
        return [(str(value), path) for value, path in self._list(name)]

    def text(self, name: str) -> str:
        """A field that is a text; empty when it is not there."""
        value = self.value.get(name)
        if value is None:
            return ""
        if isinstance(value, (Mapping, list)):
            self.problems.error(self.at(name), "expected a text")
            return ""
        return str(value).lower() if isinstance(value, bool) else str(value)

    def required(self, name: str) -> str:
        """A text that must be there."""
        if not (text := self.text(name).strip()):
            self.error(name, "is required", "FieldValueRequired")
        return text

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """The word of a few that a text is, in any case; empty when it is none of them."""
        text = self.text(name).strip()
        found = next((word for word in allowed if word.lower() == text.lower()), "")
        if text and not found:
            expected = " or ".join(allowed)
            self.error(name, f"{shown(text)}: expected {expected}", "FieldValueNotSupported")
        return found

    def error(self, name: str, message: str, reason: Reason = "FieldValueInvalid") -> None:
        """Report a field."""
        self.problems.error(self.at(name), message, reason)

    def _list(self, name: str) -> list[tuple[Any, str]]:
        value = self.value.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.error(name, "expected a list")
            return []
        return [(item, f"{self.at(name)}[{index}]") for index, item in enumerate(value)]

    def _node(self, value: Any, path: str) -> Node:
        if value is not None and not isinstance(value, Mapping):
            self.problems.error(path, "expected an object")
            value = None
        return Node(value or {}, path, self.problems)


def shown(text: str) -> str:
    """A value as messages quote it: one short line whatever it holds."""
    line = " ".join(text.split())
    return f'"{line}"' if len(line) <= _LONGEST_SHOWN else f'"{line[:_LONGEST_SHOWN]}..."'
