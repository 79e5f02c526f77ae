"""Signatures with the key of an Azure storage account, as its REST reference has them. Pure."""

from __future__ import annotations

import base64
import hmac
import urllib.parse
from collections.abc import Mapping
from datetime import datetime

from dapr_common.moments import rfc3339

VERSION = "2023-11-03"
"""Of the service's interface: requests name it in ``x-ms-version``."""
_SIGNED_HEADERS = (
    *("content-encoding", "content-language", "content-length", "content-md5", "content-type"),
    *("date", "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"),
)


def shared_key(
    method: str, target: str, headers: Mapping[str, str], length: int, account: str, key: bytes
) -> str:
    """The ``authorization`` header.

    ``target`` is path and query as they go over the wire, ``headers`` (names in lower case) what
    is sent, ``x-ms-date`` among them, ``length`` that of the body in bytes.
    """
    given = {**headers, "content-length": str(length) if length else ""}
    standard = "\n".join(given.get(name, "") for name in _SIGNED_HEADERS)
    own = "".join(
        f"{name}:{' '.join(value.split())}\n"
        for name, value in sorted(headers.items())
        if name.startswith("x-ms-")
    )
    text = f"{method}\n{standard}\n{own}{_resource(target, account)}"
    return f"SharedKey {account}:{_signature(text, key)}"


def shared_url_words(account: str, container: str, blob: str, key: bytes, expires: datetime) -> str:
    """The query that lets whoever has it read a blob until a moment in UTC."""
    until = rfc3339(expires)
    place = f"/blob/{account}/{container}/{blob}"
    # Permissions, start, end, place, policy, addresses, protocols, version, kind; then a snapshot,
    # an encryption scope and five headers of the answer, none of which is asked for.
    text = "\n".join(("r", "", until, place, "", "", "", VERSION, "b", *[""] * 7))
    words = {"sv": VERSION, "se": until, "sr": "b", "sp": "r", "sig": _signature(text, key)}
    return urllib.parse.urlencode(words)


def _resource(target: str, account: str) -> str:
    path, _, query = target.partition("?")
    words: dict[str, list[str]] = {}
    for name, value in urllib.parse.parse_qsl(query, keep_blank_values=True):
        words.setdefault(name.lower(), []).append(value)
    lines = "".join(f"\n{name}:{','.join(sorted(words[name]))}" for name in sorted(words))
    return f"/{account}{path}{lines}"


def _signature(text: str, key: bytes) -> str:
    return base64.b64encode(hmac.digest(key, text.encode(), "sha256")).decode()
