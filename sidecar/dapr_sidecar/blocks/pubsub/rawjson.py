"""JSON read without losing how it was written: values beside their exact text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from json.decoder import scanstring  # type: ignore[attr-defined] # CPython's own, in C
from typing import Any, NamedTuple

import orjson

from dapr_common.json_text import html_escape

_SPACE = re.compile(r"[ \t\n\r]*").match


class Raw(NamedTuple):
    """One value and the text it was read from."""

    value: Any
    text: str


def _refuse(word: str) -> Any:
    raise ValueError(f"invalid number {word}")


_SCAN: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder(  # type: ignore[attr-defined]
    parse_constant=_refuse
).scan_once


def _skip(text: str, at: int) -> int:
    found = _SPACE(text, at)
    assert found is not None
    return found.end()


def _value(text: str, at: int) -> tuple[Raw, int]:
    try:
        value, end = _SCAN(text, at)
    except StopIteration as error:
        raise ValueError(f"expected a value at character {error.value}") from error
    except RecursionError as error:
        raise ValueError("the document is nested too deeply") from error
    return Raw(value, text[at:end]), end


def _expect(text: str, at: int, wanted: str) -> None:
    if text[at : at + 1] != wanted:
        found = text[at : at + 1] or "the end"
        raise ValueError(f"expected '{wanted}' at character {at}, found {found}")


def object_members(text: str) -> dict[str, Raw]:
    """The members of a JSON object; of two with one name the later wins. Raises ``ValueError``."""
    at = _skip(text, 0)
    _expect(text, at, "{")
    members: dict[str, Raw] = {}
    at = _skip(text, at + 1)
    if text[at : at + 1] != "}":
        while True:
            _expect(text, at, '"')
            name, at = scanstring(text, at + 1)
            at = _skip(text, at)
            _expect(text, at, ":")
            members[name], at = _value(text, _skip(text, at + 1))
            at = _skip(text, at)
            if text[at : at + 1] == "}":
                break
            _expect(text, at, ",")
            at = _skip(text, at + 1)
    if _skip(text, at + 1) != len(text):
        raise ValueError("there is text after the object")
    return members


def array_items(text: str) -> Iterator[Raw]:
    """The items of a JSON array. Raises ``ValueError``."""
    at = _skip(text, 0)
    _expect(text, at, "[")
    at = _skip(text, at + 1)
    if text[at : at + 1] != "]":
        while True:
            item, at = _value(text, at)
            yield item
            at = _skip(text, at)
            if text[at : at + 1] == "]":
                break
            _expect(text, at, ",")
            at = _skip(text, at + 1)
    if _skip(text, at + 1) != len(text):
        raise ValueError("there is text after the array")


def is_json(text: str) -> bool:
    """Whether the text is one JSON value without surrounding space."""
    try:
        return _value(text, 0)[1] == len(text)
    except ValueError:
        return False


def load(text: bytes) -> Any:
    """Parse JSON, what the fast parser refuses included. Raises ``ValueError``."""
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text.decode("utf-8", "replace"), parse_constant=_refuse)


def quoted(text: str) -> bytes:
    """A JSON string as Go's encoder writes it."""
    try:
        return html_escape(orjson.dumps(text))
    except TypeError:  # a lone surrogate, which no UTF-8 text can hold
        return html_escape(orjson.dumps(text.encode("utf-8", "replace").decode()))
