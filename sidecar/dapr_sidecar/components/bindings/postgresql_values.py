"""Values of SQL statements as JSON, both ways.

Parameters come as a JSON list. What JSON has no type for (a time, a UUID, a range) is given as a
text that PostgreSQL knows to read, so PostgreSQL reads it: with the statement for ``casts``.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import orjson

from dapr_common.json_text import html_escape

_EXACT = 1 << 53
"""Up to here a float that has no fraction is the same number as an integer."""


@dataclass(frozen=True, slots=True)
class Cast:
    """A parameter that the server has to read; ``value`` is a text, or a list of texts."""

    position: int
    type: str
    value: Any


def parameters(text: str) -> list[Any]:
    """The list in a request's ``params``; none when it is empty. Raises ``ValueError``."""
    if not text.strip():
        return []
    try:
        found = json.loads(text, parse_float=Decimal, parse_constant=_no_number)
    except ValueError as error:
        raise ValueError(f"invalid metadata 'params': expected a JSON list: {error}") from None
    if not isinstance(found, list):
        raise ValueError("invalid metadata 'params': expected a JSON list such as [1, \"text\"]")
    return found


def arguments(given: Sequence[Any], types: Sequence[Any]) -> tuple[list[Any], list[Cast]]:
    """What a statement with parameters of these types is called with, and what is read before.

    ``types`` are asyncpg's. Raises ``ValueError`` when there are too many or too few.
    """
    if len(given) != len(types):
        raise ValueError(
            f"invalid metadata 'params': expected {len(types)} values for this statement, "
            f"found {len(given)}"
        )
    values: list[Any] = []
    casts: list[Cast] = []
    for position, (value, kind) in enumerate(zip(given, types, strict=True)):
        direct = None if value is None else _direct(value, kind.name)
        if value is not None and direct is None:
            is_array = kind.name.endswith("[]")
            text = _texts(value) if is_array and isinstance(value, list) else _text(value)
            casts.append(Cast(position, _quoted(kind.schema, kind.name), text))
        values.append(direct)
    return values, casts


def cast_statement(casts: Iterable[Cast]) -> str:
    """A query of one row that reads the texts of ``casts``, in their order."""
    columns = (
        f"${number}::text{'[]' if isinstance(cast.value, list) else ''}::{cast.type}"
        for number, cast in enumerate(casts, 1)
    )
    return "SELECT " + ", ".join(columns)


def rows_json(rows: Iterable[Iterable[Any]], types: Sequence[Any]) -> bytes:
    """Rows as a JSON list of lists, in the order of the columns."""
    names = [kind.name for kind in types]
    plain = [[_plain(value, name) for value, name in zip(row, names, strict=True)] for row in rows]
    return html_escape(orjson.dumps(plain))


def rfc3339(moment: datetime) -> str:
    """As Go's encoder writes it: fractions without trailing zeros, ``Z`` for UTC."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    fraction = f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else ""
    return f"{text}{fraction}Z"


# --- parameters -------------------------------------------------------------------------------


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _integer(value: Any) -> int | None:
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _float(value: Any) -> float | None:
    is_number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
    return float(value) if is_number else None


def _decimal(value: Any) -> Decimal | None:
    is_number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
    return Decimal(value) if is_number else None


def _text(value: Any) -> str:
    if isinstance(value, (str, Decimal)):
        return str(value)
    return json.dumps(value, default=float)


def _texts(values: list[Any]) -> list[Any]:
    """The elements of an array, which may be arrays."""
    return [
        _texts(one) if isinstance(one, list) else None if one is None else _text(one)
        for one in values
    ]


_DIRECT: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), _integer),
    **dict.fromkeys(("float4", "float8"), _float),
    "numeric": _decimal,
    "bool": lambda value: value if isinstance(value, bool) else None,
    **dict.fromkeys(("text", "varchar", "bpchar", "name", "json", "jsonb"), _text),
}


def _direct(value: Any, type_name: str) -> Any:
    """The value as the library takes it, or ``None``: then the server has to read it."""
    convert = _DIRECT.get(type_name)
    return None if convert is None else convert(value)


def _quoted(schema: str, name: str) -> str:
    base = name.removesuffix("[]")
    quoted = ".".join('"' + part.replace('"', '""') + '"' for part in (schema, base))
    return quoted + name[len(base) :]


# --- results ----------------------------------------------------------------------------------


def _plain(value: Any, type_name: str) -> Any:
    """A value as JSON can show it; what nothing else fits is a text."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return orjson.Fragment(value) if type_name in ("json", "jsonb") else value
    if isinstance(value, (list, tuple)):
        return [_plain(one, type_name.removesuffix("[]")) for one in value]
    if isinstance(value, float):
        return _number(value, type_name)
    convert = _PLAIN.get(type(value))
    return str(value) if convert is None else convert(value)


def _number(value: float, type_name: str) -> Any:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    if value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return _of_four_bytes(value) if type_name == "float4" else value


def _of_four_bytes(value: float) -> float:
    """The shortest number that is the same in four bytes: 3.14, not 3.140000104904175."""
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if struct.pack("f", short) == struct.pack("f", value):
            return short
    return value


def _exact(value: Decimal) -> Any:
    return orjson.Fragment(format(value, "f")) if value.is_finite() else str(value)


def _range(value: Any) -> str:
    if value.isempty:
        return "empty"
    low, high = ("" if end is None else str(end) for end in (value.lower, value.upper))
    return f"{'[' if value.lower_inc else '('}{low},{high}{']' if value.upper_inc else ')'}"


_PLAIN: Mapping[type, Callable[[Any], Any]] = {
    Decimal: _exact,
    datetime: rfc3339,
    date: lambda value: rfc3339(datetime.combine(value, time())),
    time: time.isoformat,
    timedelta: lambda value: str(value).replace(",", ""),
    bytes: lambda value: base64.b64encode(value).decode(),
    asyncpg.BitString: lambda value: value.as_string().replace(" ", ""),
    asyncpg.Range: _range,
    asyncpg.Record: lambda value: {name: _plain(one, "") for name, one in value.items()},
}
