"""Response heads and whole responses as bytes of HTTP/1.1."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus

from dapr_common.http.headers import safe_value
from dapr_common.http.messages import Header, Response

_STATUS_LINES: dict[int, bytes] = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_STATUS_LINES[413] = b"HTTP/1.1 413 Request Entity Too Large\r\n"
NO_BODY = frozenset({204, 304})
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST_CHUNK = b"0\r\n\r\n"
_WITH_COLON = b": ".join

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def _imf_fixdate(seconds: int) -> str:
    """A moment as RFC 9110 wants it, whatever the locale; ``email.utils`` would bring 0.2 MB."""
    at = time.gmtime(seconds)
    return (
        f"{_DAYS[at.tm_wday]}, {at.tm_mday:02d} {_MONTHS[at.tm_mon - 1]} {at.tm_year} "
        f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} GMT"
    )


class _Date:
    """The current date as headers show it, made once a second."""

    __slots__ = ("_line", "_second", "_value")

    def __init__(self) -> None:
        self._second = 0
        self._value = b""
        self._line = b""

    def line(self) -> bytes:
        """The whole header line."""
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._value = _imf_fixdate(now).encode()
            self._line = b"Date: " + self._value + b"\r\n"
        return self._line

    def value(self) -> bytes:
        """The value alone."""
        self.line()
        return self._value


DATE = _Date()


def head(
    response: Response, version: str, framing: bytes, *, close: bool, body: bytes = b""
) -> bytes:
    """A response's head, and its body when that is short of nothing."""
    status = _STATUS_LINES.get(response.status) or _unknown_status(response.status)
    connection = b""
    if close:
        connection = b"Connection: close\r\n"
    elif version == "1.0":
        connection = b"Connection: keep-alive\r\n"
    lines = header_lines(response.headers)
    date = b"" if response.dated else DATE.line()
    return b"".join((status, lines, framing, connection, date, b"\r\n", body))


def header_lines(headers: Sequence[Header]) -> bytes:
    """Header lines; what would start a line of its own inside a value becomes a space."""
    if not headers:
        return b""
    lines = b"\r\n".join(map(_WITH_COLON, headers)) + b"\r\n"
    # One look at all of them: values that need mending are rare.
    count = len(headers)
    if lines.count(b"\n") == count and lines.count(b"\r") == count and 0 not in lines:
        return lines
    return b"".join(b"%b: %b\r\n" % (name, safe_value(value)) for name, value in headers)


def whole(response: Response, body: bytes, method: str, version: str, *, close: bool) -> bytes:
    """A complete response; without its body where none may follow."""
    framing = _length_line(len(body))
    if response.status in NO_BODY:
        framing = body = b""
    elif method == "HEAD":
        # Without a body to measure, the length is not known.
        if not body or declared_length(response) is not None:
            framing = b""
        body = b""
    return head(response, version, framing, close=close, body=body)


@lru_cache(maxsize=4096)
def _length_line(size: int) -> bytes:
    return b"Content-Length: %d\r\n" % size


def declared_length(response: Response) -> int | None:
    """The ``Content-Length`` a handler gave of its own accord."""
    for name, value in response.headers:
        if name.lower() == b"content-length" and value.isdigit():
            return int(value)
    return None


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _unknown_status(status: int) -> bytes:
    return b"HTTP/1.1 %d status code %d\r\n" % (status, status)
