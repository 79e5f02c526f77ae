"""Methods the HTTP parser has never heard of: any token may be one."""

from __future__ import annotations

import re

import httptools

_METHOD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}) ")
_STAND_IN = b"POST"


class _Nobody:
    """Listens to a parser without hearing anything."""


def with_stand_in(data: bytes) -> tuple[str, bytes] | None:
    """The unknown method a request begins with, and the request with a known one in its place.

    ``None``: something else is wrong with it.
    """
    found = _METHOD.match(data)
    if found is None or _is_known(found[1]):
        return None
    return found[1].decode(), _STAND_IN + data[found.end(1) :]


def _is_known(method: bytes) -> bool:
    try:
        httptools.HttpRequestParser(_Nobody()).feed_data(method + b" / HTTP/1.1\r\n")
    except httptools.HttpParserError:
        return False
    return True
