"""Percent-decoding and path cleaning with Go's results."""

from __future__ import annotations

# ``in`` with bytes on both sides first tries the left one as a number, at the price of an
# exception: hot code looks for a byte's number, or uses ``find``.
PERCENT = ord("%")
PLUS = ord("+")
_HEX = frozenset(b"0123456789abcdefABCDEF")


def query_unescape(text: bytes) -> str:
    """Decode ``%XX`` and ``+``. Raises ``ValueError`` with Go's text."""
    return path_unescape(text.replace(b"+", b" "))


def path_unescape(text: bytes) -> str:
    """Decode ``%XX``. Raises ``ValueError`` with Go's text."""
    if PERCENT not in text:
        return text.decode("utf-8", "surrogateescape")
    parts = text.split(b"%")
    out = [parts[0]]
    for part in parts[1:]:
        digits = part[:2]
        if len(digits) < 2 or digits[0] not in _HEX or digits[1] not in _HEX:
            shown = (b"%" + digits).decode("utf-8", "replace")
            raise ValueError(f'invalid URL escape "{shown}"')
        out.append(bytes((int(digits, 16),)))
        out.append(part[2:])
    return b"".join(out).decode("utf-8", "surrogateescape")


def as_utf8(text: str) -> str:
    """Decoded text, with U+FFFD for bytes that are no UTF-8: JSON and gRPC carry no others."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def without_password(url: str) -> str:
    """A URL for messages: in place of its password three asterisks, as Go's client writes it."""
    scheme, slashes, rest = url.partition("://")
    authority, slash, tail = rest.partition("/")
    user, at, host = authority.rpartition("@")
    name, colon, _ = user.partition(":")
    if not colon:
        return url
    return f"{scheme}{slashes}{name}:***{at}{host}{slash}{tail}"


def clean_path(path: bytes) -> bytes:
    """Collapse ``//``, resolve ``.`` and ``..``, strip a trailing slash; always rooted."""
    if path.find(b"//") < 0 and path.find(b"/.") < 0 and path[:1] == b"/":
        if len(path) > 1 and path[-1] == 47:
            return path[:-1]
        return path
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment in (b"", b"."):
            continue
        if segment == b"..":
            if kept:
                kept.pop()
            continue
        kept.append(segment)
    return b"/" + b"/".join(kept)
