"""How settings that both OAuth 2.0 middlewares have are read."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def header_name(text: str) -> str:
    """A ``parse`` for the name of a header."""
    if not _HEADER_NAME.fullmatch(text):
        raise ValueError("expected the name of a header")
    return text


def http_url(text: str) -> str:
    """A ``parse`` for an absolute URL."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not text.isprintable() or " " in text:
        raise ValueError("expected an absolute http(s) URL")
    return text


def scope_list(text: str) -> str:
    """A ``parse`` for scopes: with blanks between them, whatever was there."""
    return " ".join(text.replace(",", " ").split())
