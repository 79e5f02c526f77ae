"""Typed component settings: frozen dataclasses decoded from a manifest's string metadata.

Dapr's rules: keys ignore case, aliases are allowed, ``y yes true t on 1`` are true and any other
word is false, durations are Go durations or a bare number in the component's unit.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from enum import Enum
from typing import Any, TypeVar

from dapr_common.durations import parse_go_duration, parse_quantity
from dapr_common.words import is_truthy

S = TypeVar("S")


class SettingsError(ValueError):
    """A manifest's metadata is wrong; the text names the field and what was expected."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Spec:
    names: tuple[str, ...]
    secret: bool
    duration_unit: float
    parse: Callable[[str], Any] | None
    help: str


def setting(
    name: str,
    *,
    aliases: Iterable[str] = (),
    default: Any = dataclasses.MISSING,
    secret: bool = False,
    duration_unit: float = 1.0,
    parse: Callable[[str], Any] | None = None,
    help: str = "",  # noqa: A002 - the word users of dataclass fields and argparse expect
) -> Any:
    """Declare one field of a settings dataclass.

    ``name`` is the manifest's name; without ``default`` the field is required. ``secret`` keeps it
    out of ``repr``. ``duration_unit`` is the length in seconds of a duration given as a bare
    number. ``parse`` replaces the conversion by type; its ``ValueError`` is reported with the name.
    """
    spec = _Spec((name, *aliases), secret, duration_unit, parse, help)
    metadata = {"setting": spec}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata, repr=not secret)
    if isinstance(default, (dict, list, set)):
        return dataclasses.field(
            default_factory=lambda: type(default)(default), metadata=metadata, repr=not secret
        )
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


def bytesize(text: str) -> int:
    """A ``parse`` for byte sizes: Kubernetes quantities or a bare number."""
    return parse_quantity(text)


def _fields(kind: type[Any]) -> tuple[tuple[str, _Spec, Any, bool], ...]:
    hints = typing.get_type_hints(kind)
    return tuple(
        (
            field.name,
            field.metadata["setting"],
            hints[field.name],
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
        if "setting" in field.metadata
    )


def setting_names(kind: type[Any]) -> dict[str, tuple[str, ...]]:
    """Attribute name → manifest names (the first is canonical), for docs and admission checks."""
    return {attribute: spec.names for attribute, spec, _, _ in _fields(kind)}


@dataclasses.dataclass(frozen=True, slots=True)
class SettingInfo:
    """One metadata field, as documentation shows it."""

    names: tuple[str, ...]
    """The canonical name, then its aliases."""
    type: Any
    required: bool
    default: Any
    secret: bool
    duration_unit: float
    is_size: bool
    """Whether byte units such as ``Mi`` are allowed."""
    is_special: bool
    """Whether only the component itself can read a value."""
    help: str


def describe_settings(kind: type[Any]) -> list[SettingInfo]:
    """Every field of a settings class, in order."""
    defaults = {
        field.name: field.default
        if field.default_factory is dataclasses.MISSING
        else field.default_factory()
        for field in dataclasses.fields(kind)
    }
    return [
        SettingInfo(
            spec.names,
            hint,
            required,
            None if required else defaults[attribute],
            spec.secret,
            spec.duration_unit,
            spec.parse is bytesize,
            spec.parse not in (None, bytesize),
            spec.help,
        )
        for attribute, spec, hint, required in _fields(kind)
    ]


def decode_settings(kind: type[S], properties: Mapping[str, str]) -> S:
    """Decode a manifest's metadata. Raises ``SettingsError`` naming the field.

    Unknown names are ignored, as Dapr does; ``unknown_names`` finds them for warnings.
    """
    given: dict[str, str] = {}
    for name, value in properties.items():
        given[name.lower()] = value
    values: dict[str, Any] = {}
    for attribute, spec, hint, required in _fields(kind):
        text = next((given[n.lower()] for n in spec.names if n.lower() in given), None)
        if text is None or (text == "" and (required or not _is_text(hint))):
            if required:
                raise SettingsError(f"missing required metadata field '{spec.names[0]}'")
            continue
        try:
            values[attribute] = spec.parse(text) if spec.parse else _convert(hint, text, spec)
        except ValueError as error:
            shown = "the value" if spec.secret else f"'{text}'"
            raise SettingsError(
                f"invalid metadata field '{spec.names[0]}': {shown}: {error}"
            ) from error
    return kind(**values)


def unknown_names(kind: type[Any], properties: Iterable[str]) -> dict[str, str | None]:
    """Metadata names no field takes → the nearest known name, if one is near."""
    known = {n.lower(): n for _, spec, _, _ in _fields(kind) for n in spec.names}
    found: dict[str, str | None] = {}
    for name in properties:
        if name.lower() not in known:
            import difflib

            near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.75)
            found[name] = known[near[0]] if near else None
    return found


def _is_text(hint: Any) -> bool:
    return hint is str or (isinstance(hint, types.UnionType) and str in typing.get_args(hint))


def _convert(hint: Any, text: str, spec: _Spec) -> Any:
    if isinstance(hint, types.UnionType):
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
    if hint is str:
        return text
    if hint is bool:
        return is_truthy(text)
    if hint is int:
        return _integer(text)
    if hint is float:
        return float(text)
    if hint is timedelta:
        return _duration(text, spec.duration_unit)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _choice(hint, text)
    if typing.get_origin(hint) in (tuple, list, frozenset):
        parts = (part.strip() for part in text.split(","))
        return typing.get_origin(hint)(part for part in parts if part)
    raise TypeError(f"settings cannot hold {hint!r}")


def _integer(text: str) -> int:
    try:
        return int(text.strip())
    except ValueError:
        raise ValueError("expected a whole number") from None


def _duration(text: str, unit: float) -> timedelta:
    try:
        seconds = float(text) * unit
    except ValueError:
        return parse_go_duration(text.strip())
    try:
        return timedelta(seconds=seconds)
    except (OverflowError, ValueError):  # inf, nan, or more days than can be counted
        raise ValueError("expected a duration such as 500ms or 1m30s") from None


def _choice(kind: type[Enum], text: str) -> Enum:
    for member in kind:
        if str(member.value).lower() == text.strip().lower():
            return member
    allowed = ", ".join(str(member.value) for member in kind)
    raise ValueError(f"expected one of {allowed}")
