"""State queries as SQL over the JSONB column of the first PostgreSQL layout."""

from __future__ import annotations

from typing import Any

import orjson

from dapr_sidecar.components.state.postgresql_layout import Layout
from dapr_sidecar.components.state.query import (
    Combine,
    Compare,
    Filter,
    OneOf,
    Query,
    QueryError,
)

_OPERATORS = {"EQ": "=", "NEQ": "<>", "GT": ">", "GTE": ">=", "LT": "<", "LTE": "<="}


class _Values:
    """Parameters of a statement, numbered as they come."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    def add(self, value: Any) -> str:
        self.given.append(value)
        return f"${len(self.given)}"


def select(query: Query, layout: Layout) -> tuple[str, list[Any]]:
    """The statement and its parameters. Raises ``QueryError``."""
    values = _Values()
    conditions = [layout.is_live]
    if query.filter is not None:
        # Bytes stand in the column as text: no query looks into them.
        conditions += ["NOT isbinary", _condition(query.filter, values)]
    order = [
        _field(entry.key, values) + (" DESC" if entry.descending else " ASC")
        for entry in query.sort
    ]
    sql = (
        f"SELECT {layout.selected} FROM {layout.table} "  # noqa: S608 - names were checked
        f"WHERE {' AND '.join(conditions)} ORDER BY {', '.join([*order, 'key'])}"
    )
    if query.limit:
        sql += f" LIMIT {values.add(query.limit)}::bigint"
    if query.token:
        sql += f" OFFSET {values.add(_offset(query.token))}::bigint"
    return sql, values.given


def next_token(query: Query, found: int) -> str:
    """Where the next page begins; empty without a limit."""
    return str(_offset(query.token) + found) if query.limit else ""


def _condition(given: Filter, values: _Values) -> str:
    if isinstance(given, Combine):
        inner = (_condition(one, values) for one in given.filters)
        return "(" + f" {given.operator} ".join(inner) + ")"
    if isinstance(given, OneOf):
        listed = ", ".join(_json(value, values) for value in given.values)
        return f"{_field(given.key, values)} IN ({listed})"
    return _comparison(given, values)


def _comparison(given: Compare, values: _Values) -> str:
    field, value = _field(given.key, values), _json(given.value, values)
    operator = _OPERATORS[given.operator]
    if given.operator == "EQ":
        return f"{field} = {value}"
    if given.operator == "NEQ":
        return f"{field} IS DISTINCT FROM {value}"
    # Greater and less have a meaning between numbers and between texts only.
    return f"(jsonb_typeof({field}) = jsonb_typeof({value}) AND {field} {operator} {value})"


def _field(key: str, values: _Values) -> str:
    return f"value #> {values.add(key.split('.'))}::text[]"


def _json(value: Any, values: _Values) -> str:
    return f"{values.add(orjson.dumps(value).decode())}::jsonb"


def _offset(token: str) -> int:
    if not token:
        return 0
    if not token.isdecimal():
        raise QueryError(f"page.token '{token}' is none of this store's")
    return int(token)
