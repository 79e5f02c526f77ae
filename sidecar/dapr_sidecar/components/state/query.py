"""The body of a state query as typed values, for every store that has the query API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Comparator = Literal["EQ", "NEQ", "GT", "GTE", "LT", "LTE"]
_COMPARATORS = frozenset({"EQ", "NEQ", "GT", "GTE", "LT", "LTE"})
_LONGEST_NESTING = 64


class QueryError(ValueError):
    """A query that cannot be run; the text says which part of it is wrong."""


@dataclass(frozen=True, slots=True)
class Compare:
    """One key against one value."""

    operator: Comparator
    key: str
    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class OneOf:
    """``IN``: the key has one of the values."""

    key: str
    values: tuple[str | int | float | bool | None, ...]


@dataclass(frozen=True, slots=True)
class Combine:
    """``AND`` or ``OR`` of at least two filters."""

    operator: Literal["AND", "OR"]
    filters: tuple[Filter, ...]


Filter = Compare | OneOf | Combine


@dataclass(frozen=True, slots=True)
class Sort:
    """One key to order by."""

    key: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A whole query; ``limit`` 0 means none, ``filter=None`` takes everything."""

    filter: Filter | None = None
    sort: tuple[Sort, ...] = ()
    limit: int = 0
    token: str = ""


def parse_query(body: Mapping[str, object]) -> Query:
    """Read a query's JSON object. Raises ``QueryError``."""
    given = body.get("filter")
    page = _object("page", body.get("page") or {})
    limit, token = page.get("limit", 0), page.get("token", "")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise QueryError(f"page.limit must be a whole number, not {limit!r}")
    if not isinstance(token, str):
        raise QueryError("page.token must be a string")
    sort = tuple(_sort(entry) for entry in _list("sort", body.get("sort") or []))
    return Query(_filter(given, 0) if given else None, sort, limit, token)


def _sort(entry: object) -> Sort:
    fields = _object("sort", entry)
    key, order = fields.get("key"), fields.get("order", "")
    if not isinstance(key, str) or not key:
        raise QueryError("an entry of sort needs a key")
    if order not in ("", "ASC", "DESC"):
        raise QueryError(f"sort order {order!r} is not known: use ASC or DESC")
    return Sort(key, order == "DESC")


def _filter(given: object, depth: int) -> Filter:
    if depth > _LONGEST_NESTING:
        raise QueryError("the filter is nested too deeply")
    fields = _object("a filter", given)
    if len(fields) != 1:
        raise QueryError(f"a filter has one operator, not {len(fields)}")
    operator, operand = next(iter(fields.items()))
    if operator in ("AND", "OR"):
        return _combine(operator, operand, depth)
    key, value = _operand(operator, operand)
    if operator == "IN":
        values = tuple(_scalar(key, inner) for inner in _list(f"IN {key}", value))
        if not values:
            raise QueryError(f"IN {key} has no values")
        return OneOf(key, values)
    if operator not in _COMPARATORS:
        raise QueryError(f"unsupported filter {operator}")
    return Compare(operator, key, _scalar(key, value))  # type: ignore[arg-type]


def _combine(operator: Any, operand: object, depth: int) -> Combine:
    inner = _list(operator, operand)
    if len(inner) < 2:
        raise QueryError(f"{operator} needs at least two filters, it has {len(inner)}")
    return Combine(operator, tuple(_filter(entry, depth + 1) for entry in inner))


def _operand(operator: str, operand: object) -> tuple[str, object]:
    fields = _object(operator, operand)
    if len(fields) != 1:
        raise QueryError(f"{operator} has one key, not {len(fields)}")
    return next(iter(fields.items()))


def _scalar(key: str, value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise QueryError(f"{key} is compared with a value that is neither text nor number")


def _object(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise QueryError(f"{name} must be an object")
    return value


def _list(name: str, value: object) -> Sequence[Any]:
    if not isinstance(value, list):
        raise QueryError(f"{name} must be an array")
    return value
