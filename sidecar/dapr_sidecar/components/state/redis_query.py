"""State queries on RediSearch: indexes, the commands of a query, and what comes back. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.state.base import BulkGetItem
from dapr_sidecar.components.state.query import Combine, Compare, Filter, OneOf, Query, QueryError

Command = tuple[str | int, ...]

_NOT_TEXT = re.compile(r"[^\w]+")
"""What RediSearch splits words at, and everything its query language gives a meaning."""


@dataclass(frozen=True, slots=True)
class Index:
    """One entry of ``queryIndexes``."""

    name: str
    aliases: dict[str, str]
    """Key as queries name it → field of the index."""

    types: tuple[str, ...]

    def field(self, key: str) -> str:
        """The field of a key. Raises ``QueryError``."""
        alias = self.aliases.get(key)
        if alias is None:
            known = ", ".join(self.aliases)
            raise QueryError(f"index '{self.name}' has no key '{key}', only {known}")
        return alias

    def create(self) -> Command:
        """The command that makes the index."""
        schema: list[str] = []
        for (key, alias), kind in zip(self.aliases.items(), self.types, strict=True):
            schema += [f"$.data.{key}", "AS", alias, kind, "SORTABLE"]
        return ("FT.CREATE", self.name, "ON", "JSON", "SCHEMA", *schema)

    def drop(self) -> Command:
        """The command that removes an index of this name; the data stays."""
        return ("FT.DROPINDEX", self.name)


def parse_indexes(text: str) -> dict[str, Index]:
    """Read the metadata field ``queryIndexes``. Raises ``SettingsError``."""
    if not text:
        return {}
    try:
        indexes = [_index(entry) for entry in _array(orjson.loads(text))]
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            "invalid metadata field 'queryIndexes': expected a JSON array of "
            '{"name": ..., "indexes": [{"key": ..., "type": "TEXT" or "NUMERIC"}]}: '
            f"{error}"
        ) from error
    return {index.name: index for index in indexes}


def _index(entry: Any) -> Index:
    name = entry["name"]
    keys = [(field["key"], field["type"]) for field in _array(entry["indexes"])]
    if not (isinstance(name, str) and name and keys):
        raise ValueError("an index needs a name and keys")
    if not all(isinstance(text, str) and text for pair in keys for text in pair):
        raise ValueError(f"index '{name}': keys and types must be texts")
    aliases = {key: f"var{at}" for at, (key, _) in enumerate(keys)}
    if len(aliases) != len(keys):
        raise ValueError(f"index '{name}' names a key twice")
    return Index(name, aliases, tuple(kind for _, kind in keys))


def _array(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("expected an array")
    return value


def search(index: Index, query: Query) -> Command:
    """The command of a query. Raises ``QueryError``."""
    command: list[str | int] = ["FT.SEARCH", index.name, _expression(index, query.filter)]
    if len(query.sort) > 1:
        raise QueryError("redis sorts by one key only")
    for sort in query.sort:
        command += ["SORTBY", index.field(sort.key)]
        if sort.descending:
            command.append("DESC")
    offset = _offset(query.token)
    if query.limit:
        command += ["LIMIT", offset, query.limit]
    return (*command, "RETURN", 2, "$.data", "$.version")


def next_token(query: Query, found: int) -> str:
    """The token of the page after the one that was read; empty when pages are not asked for."""
    return str(_offset(query.token) + found) if query.limit else ""


def read_reply(reply: Sequence[Any]) -> list[BulkGetItem]:
    """The items of an ``FT.SEARCH`` reply: a count, then key and fields by turns."""
    items = []
    for at in range(1, len(reply) - 1, 2):
        key, fields = reply[at].decode(), reply[at + 1] or ()
        found = dict(zip(fields[::2], fields[1::2], strict=True))
        data, version = found.get(b"$.data"), found.get(b"$.version")
        if data is None:
            items.append(BulkGetItem(key, error="the record has no data"))
        else:
            items.append(BulkGetItem(key, data, version.decode() if version else None))
    return items


def _offset(token: str) -> int:
    if not token:
        return 0
    if token.isascii() and token.isdigit():
        return int(token)
    raise QueryError(f"page.token '{token}' is not one of this store's")


# --- filters ------------------------------------------------------------------------------------


def _expression(index: Index, given: Filter | None) -> str:
    if given is None:
        return "*"
    if isinstance(given, Combine):
        parts = [_nested(index, inner) for inner in given.filters]
        return (" " if given.operator == "AND" else "|").join(parts)
    if isinstance(given, OneOf):
        return _one_of(index.field(given.key), given)
    return _compare(index.field(given.key), given)


def _nested(index: Index, given: Filter) -> str:
    text = _expression(index, given)
    return f"({text})" if isinstance(given, Combine) else text


def _one_of(field: str, given: OneOf) -> str:
    if len(given.values) < 2:
        raise QueryError(f"IN {given.key} needs at least two values")
    if all(isinstance(value, str) for value in given.values):
        words = [_words(given.key, str(value)) for value in given.values]
        return f"@{field}:({'|'.join(f'({word})' if ' ' in word else word for word in words)})"
    return f"({'|'.join(_equal(field, given.key, value) for value in given.values)})"


def _compare(field: str, given: Compare) -> str:
    if given.operator == "EQ":
        return _equal(field, given.key, given.value)
    if given.operator == "NEQ":
        return f"-({_equal(field, given.key, given.value)})"
    number = _number(given.key, given.value)
    ranges = {
        "GT": f"({number} +inf",
        "GTE": f"{number} +inf",
        "LT": f"-inf ({number}",
        "LTE": f"-inf {number}",
    }
    return f"@{field}:[{ranges[given.operator]}]"


def _equal(field: str, key: str, value: object) -> str:
    if isinstance(value, str):
        return f"@{field}:({_words(key, value)})"
    number = _number(key, value)
    return f"@{field}:[{number} {number}]"


def _words(key: str, value: str) -> str:
    """A text as words to look for: RediSearch keeps no punctuation, and a query must hold none."""
    words = _NOT_TEXT.sub(" ", value).strip()
    if not words:
        raise QueryError(f"{key} is compared with a text without letters or digits: '{value}'")
    return words


def _number(key: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise QueryError(f"{key} is compared with {value!r}: redis indexes texts and numbers")
    return repr(value)
