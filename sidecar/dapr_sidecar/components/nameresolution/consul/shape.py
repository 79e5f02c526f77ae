"""Nested configuration read by its shape: names ignore case, types are checked. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from dapr_common.durations import parse_go_duration
from dapr_common.observe.logs import get_logger
from dapr_common.words import is_truthy, kind_of

_LOG = get_logger("dapr.contrib")


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping whose names are the user's own, kept as they are."""

    values: Any


# What a value may be: str, bool, int, timedelta; ANY as it is; a mapping of field names to such;
# a list of one such; MapOf.
Shape = Any
ANY = object


def decode(text: str, shape: Shape) -> Any:
    """Read JSON text. Names in the result are spelled as in the shape, nulls are left out.

    Raises ``ValueError`` naming the field. Unknown names are ignored with a warning.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"expected a mapping or a list: {error}") from None
    return _read(value, shape, "")


def _read(value: object, shape: Shape, where: str) -> Any:
    if isinstance(shape, MapOf):
        given = _mapping(value, where)
        return {key: _read(item, shape.values, f"{where}.{key}") for key, item in given.items()}
    if isinstance(shape, Mapping):
        return _fields(_mapping(value, where), shape, where)
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        return [_read(item, shape[0], f"{where}[{i}]") for i, item in enumerate(value)]
    return value if shape is ANY else _scalar(value, shape, where)


def _fields(given: Mapping[str, object], shape: Mapping[str, Shape], where: str) -> dict[str, Any]:
    names = {name.lower(): name for name in shape}
    found: dict[str, Any] = {}
    for key, value in given.items():
        name = names.get(key.lower())
        if name is None:
            _LOG.warning("nameresolution.consul: '%s.%s' is not known", where, key)
        elif value is not None:
            found[name] = _read(value, shape[name], f"{where}.{name}")
    return found


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise _wrong(where, "a mapping", value)
    return value


def _scalar(value: object, kind: type, where: str) -> Any:
    if isinstance(value, (list, Mapping)):
        raise _wrong(where, _WORDS[kind], value)
    if kind is str:
        return json.dumps(value) if isinstance(value, (bool, int, float)) else value
    if kind is timedelta:
        return _duration(value, where)
    if kind is bool:
        return value if isinstance(value, bool) else is_truthy(str(value))
    try:
        return int(str(value))
    except ValueError:
        raise _wrong(where, _WORDS[kind], value) from None


def _duration(value: object, where: str) -> timedelta:
    if isinstance(value, int):
        return timedelta(microseconds=value / 1000)  # Go writes durations as nanoseconds
    try:
        return parse_go_duration(str(value))
    except ValueError as error:
        raise ValueError(f"'{where.lstrip('.')}': {error}") from None


_WORDS = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    timedelta: "a duration such as 10s",
}


def _wrong(where: str, expected: str, value: object) -> ValueError:
    field = f"'{where.lstrip('.')}': " if where else ""
    return ValueError(f"{field}expected {expected}, not {kind_of(value)}")
