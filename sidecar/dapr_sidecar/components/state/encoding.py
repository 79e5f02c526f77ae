"""Values as stores keep them: compact JSON under Go's rules."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator

import orjson

from dapr_common.json_text import html_escape, whole_characters
from dapr_sidecar.components.state.base import Json, StateValue

_ROUNDED_LIMIT = 83_886_079
"""Up to this magnitude the Redis component of Dapr keeps six decimals of a float."""
_MAX_TTL, _MAX_SQL_TTL = 2**63 - 1, 2_147_483_647
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_DIGITS = bytes(ord("0") if chr(code) in "0123456789" else ord(" ") for code in range(256))
_LONG_NUMBER = b"0" * 19
_DOT, _MINUS, _PLUS = b".-+"
_GO_FLOAT = re.compile(rb"\.0(?![0-9])|[0-9]e[+-]")
"""What Go would write in another way: ``5.0``, ``1e+16``; strings may look so, too."""
_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def loads(text: bytes) -> object:
    """Parse JSON; integers keep every digit. Raises ``ValueError``."""
    try:
        value = orjson.loads(text)
    except ValueError:
        # Half a character: JavaScript writes what is left of an emoji that was cut in two.
        if text.lower().find(b"\\ud") < 0:
            raise
        return _loads_halves(text)
    if not _has_long_number(text):
        return value
    # orjson turns integers past 64 bits into floats; the slower parser does not, but takes what is
    # no JSON: that orjson has judged.
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _loads_halves(text: bytes) -> object:
    try:
        found = json.loads(text.decode(), parse_float=_finite, parse_constant=_finite)
        return _whole(found)
    except UnicodeDecodeError:
        raise ValueError("str is not valid UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number of JSON's")
    return value


def _whole(value: object) -> object:
    """The same without halves of characters."""
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, dict):
        return {_whole(key): _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return value


def _has_long_number(text: bytes) -> bool:
    """Whether 19 digits follow each other: some of them stand where every 19th byte is."""
    if text[18::19].translate(_DIGITS).find(b"0") < 0:
        return False
    return text.translate(_DIGITS).find(_LONG_NUMBER) >= 0


def plain(value: StateValue) -> bytes:
    """The bytes most stores keep: sorted keys, ``<>&`` escaped."""
    if isinstance(value, Json):
        return html_escape(_dump(value.value, _SORTED))
    return value


def compact(value: object) -> bytes:
    """JSON with the members in their order, and nothing escaped that need not be."""
    return _dump(value, 0)


def redis(value: StateValue) -> bytes:
    """The bytes the Redis store keeps: no escaping, small floats rounded to six decimals."""
    if not isinstance(value, Json):
        return value
    native = value.value
    kind = type(native)
    if kind is str or kind is int or kind is bool or native is None:
        return _dump(native, 0)
    return _dump(_rounded(native), 0)


def _dump(value: object, option: int) -> bytes:
    try:
        text = orjson.dumps(value, option=option)
    except TypeError:
        # An integer past 64 bits: the standard encoder keeps it.
        return b"".join(_pieces(value, sort=bool(option)))
    if not _may_hold_float(text) or _GO_FLOAT.search(text) is None:
        return text
    return b"".join(_pieces(value, sort=bool(option)))


def _may_hold_float(text: bytes) -> bool:
    # A single byte is found forty times as fast as two are.
    return (
        (_DOT in text and text.find(b".0") >= 0)
        or (_MINUS in text and text.find(b"e-") >= 0)
        or (_PLUS in text and text.find(b"e+") >= 0)
    )


def _pieces(value: object, *, sort: bool) -> Iterator[bytes]:
    """JSON with Go's floats, piece by piece; slower than the library."""
    if isinstance(value, dict):
        names = sorted(value) if sort else list(value)
        for index, name in enumerate(names):
            yield b"," if index else b"{"
            yield orjson.dumps(name) + b":"
            yield from _pieces(value[name], sort=sort)
        yield b"}" if names else b"{}"
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield b"," if index else b"["
            yield from _pieces(inner, sort=sort)
        yield b"]" if value else b"[]"
    elif isinstance(value, float):
        yield _go_float(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield b"%d" % value
    else:
        yield orjson.dumps(value)


def _go_float(value: float) -> bytes:
    """The shortest form, with an exponent only below 1e-6 and from 1e21 on."""
    if not math.isfinite(value):
        return b"null"
    size = abs(value)
    if size and (size < 1e-6 or size >= 1e21):
        mantissa, _, exponent = repr(value).partition("e")
        power = int(exponent)
        return f"{mantissa.removesuffix('.0')}e{power:+d}".encode()
    shown = repr(value)
    if "e" in shown:
        from decimal import Decimal  # half a megabyte for numbers that are seldom stored

        shown = format(Decimal(shown), "f")
    return shown.removesuffix(".0").encode()


def _rounded(value: object) -> object:
    if isinstance(value, float):
        if math.isfinite(value) and abs(value) <= _ROUNDED_LIMIT:
            short = round(value, 6)
            return int(short) if short == int(short) else short
        return value
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return value


def ttl_seconds(metadata: object) -> int | None:
    """``ttlInSeconds`` of a request; ``None`` when absent. Raises ``ValueError``."""
    if not metadata:
        return None
    text = next(
        (v for k, v in metadata.items() if k.lower() == "ttlinseconds"),  # type: ignore[attr-defined]
        None,
    )
    if text is None or text == "":
        return None
    if _WHOLE.fullmatch(text) is None or abs(seconds := int(text)) > _MAX_TTL:
        raise ValueError(
            f"incorrect value for metadata 'ttlInSeconds': '{text}': expected a whole number"
        )
    return seconds


def sql_ttl_seconds(metadata: object) -> int | None:
    """The same as SQL stores take it; ``None`` for a value that stays. Raises ``ValueError``."""
    seconds = ttl_seconds(metadata)
    if seconds is None or seconds in (0, -1):
        return None
    if seconds < -1 or seconds > _MAX_SQL_TTL:
        raise ValueError(
            f"invalid value for 'ttlInSeconds': {seconds}: expected -1 or 0 to {_MAX_SQL_TTL}"
        )
    return seconds
