"""Request lines the HTTP parser refuses though they are right, or right enough for Go's server."""

from __future__ import annotations

import re

import httptools

_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}) ([^\r\n]*)")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_STAND_IN = b"POST"


class _Nobody:
    """Listens to a parser without hearing anything."""


def mended(data: bytes) -> tuple[str, bytes] | None:
    """The request with a line the parser takes, and its method if that is an unknown one.

    Any token may be a method: it gets a stand-in. Bytes of the target that are not ASCII are
    percent-encoded. ``None``: something else is wrong.
    """
    found = _LINE.match(data)
    if found is None:
        return None
    method, rest = found.groups()
    plain = _NOT_ASCII.sub(lambda byte: b"%%%02X" % byte[0][0], rest)
    known = _is_known(method)
    if known and plain == rest:
        return None
    line = (method if known else _STAND_IN) + b" " + plain
    return "" if known else method.decode(), line + data[found.end() :]


def _is_known(method: bytes) -> bool:
    try:
        httptools.HttpRequestParser(_Nobody()).feed_data(method + b" / HTTP/1.1\r\n")
    except httptools.HttpParserError:
        return False
    return True
