"""JSON as Go's encoder writes it."""

from __future__ import annotations


def html_escape(text: bytes) -> bytes:
    """Escape in JSON text what Go's encoder escapes: ``<``, ``>``, ``&``, U+2028 and U+2029."""
    text = text.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
    return text.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
