"""Who is called: the target of an HTTP request, and app ids with a namespace."""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

from dapr_common.http.messages import Request
from dapr_common.http.url import PERCENT, PLUS, clean_path, path_unescape, query_unescape
from dapr_sidecar.blocks.invocation.methods import clean

APP_ID_HEADER = b"dapr-app-id"
_PREFIX = b"/v1.0/invoke/"
_INVOKE = re.compile(r"/*v1\.0/+invoke/+(.*)", re.DOTALL)
_METHOD = "/method/"
_SLASH, _COLON = b"/:"


class HttpTarget(NamedTuple):
    """What an HTTP request asks for."""

    app_id: str
    method: str
    by_header: bool
    """The request named its target in a header, which is not forwarded."""


def http_target(request: Request) -> HttpTarget | None:
    """The target of a request, ``None`` when it names none.

    Raises ``ValueError`` for a path with broken escapes.
    """
    path = request.path
    if (named := request.header(APP_ID_HEADER)) is not None and named:
        return HttpTarget(named.decode("utf-8", "replace"), _whole_path(path), True)
    if (given := request.header(b"authorization")) is not None:
        app_id = _basic(given)
        if app_id:
            return HttpTarget(app_id, _whole_path(path), False)
    if path.startswith(_PREFIX) and PERCENT not in path and PLUS not in path:
        app, found, method = path[len(_PREFIX) :].partition(b"/method/")
        if found and app and app[0] != _SLASH and _COLON not in app:
            return HttpTarget(
                app.decode("utf-8", "replace"), method.decode("utf-8", "surrogateescape"), False
            )
    return _from_path(path)


def _from_path(path: bytes) -> HttpTarget | None:
    matched = _INVOKE.fullmatch(path_unescape(path))
    if matched is None:
        return None
    app, found, method = matched[1].partition(_METHOD)
    if not found or not app:
        return None
    app_id = query_unescape(app.encode("utf-8", "surrogateescape"))
    # Cleaned here already, so that only what is left of it can be refused.
    return HttpTarget(_restored(app_id), clean(method), False)


def _restored(app_id: str) -> str:
    """A URL whose ``//`` somebody on the way has collapsed."""
    for scheme in ("http:/", "https:/"):
        if app_id.startswith(scheme) and not app_id.startswith(scheme + "/"):
            return scheme + "/" + app_id[len(scheme) :]
    return app_id


def _whole_path(path: bytes) -> str:
    decoded = path_unescape(path).encode("utf-8", "surrogateescape")
    return clean_path(decoded)[1:].decode("utf-8", "surrogateescape")


def _basic(value: bytes) -> str:
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"basic":
        return ""
    try:
        parts = base64.b64decode(encoded.strip(), validate=True).decode().split(":")
    except (binascii.Error, ValueError):
        return ""
    if len(parts) != 2 or parts[0].lower() != "dapr-app-id":
        return ""
    return parts[1]


def is_url(app_id: str) -> bool:
    """Whether the target is an absolute URL."""
    return app_id.startswith(("http://", "https://"))


def split_app_id(text: str, own_namespace: str) -> tuple[str, str]:
    """``id`` or ``id.namespace``. Raises ``ValueError`` with Dapr's text."""
    if "." not in text:
        if not text:
            raise ValueError("app id is empty")
        return text, own_namespace
    app_id, _, namespace = text.partition(".")
    if "." in namespace:
        raise ValueError(f"invalid app id {text}")
    if not app_id:
        raise ValueError("app id is empty")
    return app_id, namespace
