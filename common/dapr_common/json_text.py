"""JSON as Go's encoder writes it."""

from __future__ import annotations

_EXPONENT_FROM = 1e21


def html_escape(text: bytes) -> bytes:
    """Escape in JSON text what Go's encoder escapes: ``<``, ``>``, ``&``, U+2028 and U+2029."""
    text = text.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
    return text.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")


def whole_numbers(value: object) -> object:
    """A value of JSON with ``5`` for ``5.0``, as Go writes it: strict readers take no other int."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _EXPONENT_FROM else value
    if isinstance(value, dict):
        return {name: whole_numbers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [whole_numbers(inner) for inner in value]
    return value


def whole_characters(text: str) -> str:
    """U+FFFD for halves of surrogate pairs, as Go reads them: no UTF-8 holds such a half.

    JavaScript writes them when it cuts an emoji in two.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
