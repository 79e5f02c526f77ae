"""Small helpers every HTTP handler uses: Go-like JSON, queries, metadata parameters."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from dapr_common.http.messages import Header, Request, Response
from dapr_common.http.url import as_utf8, query_unescape
from dapr_common.json_text import html_escape

JSON_TYPE: Header = (b"Content-Type", b"application/json")
TEXT_TYPE: Header = (b"Content-Type", b"text/plain; charset=utf-8")
_METADATA = "metadata."


def go_json(value: object) -> bytes:
    """Compact JSON as Go's encoder writes it: ``<``, ``>``, ``&`` and U+2028/9 escaped."""
    return html_escape(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))


def json_response(value: object, status: int = 200, *, newline: bool = True) -> Response:
    """A JSON answer; Go's stream encoder ends it with a newline."""
    body = go_json(value)
    return Response(status, [JSON_TYPE], body + b"\n" if newline else body)


def raw_json(body: bytes, status: int = 200) -> Response:
    """Bytes that are already JSON, or that Dapr labels so."""
    return Response(status, [JSON_TYPE], body)


def empty(status: int = 204) -> Response:
    """An answer without a body."""
    return Response(status)


def text_response(text: str, status: int) -> Response:
    """Plain text as Go's ``http.Error`` writes it."""
    return Response(
        status, [TEXT_TYPE, (b"X-Content-Type-Options", b"nosniff")], text.encode() + b"\n"
    )


def query_params(request: Request) -> dict[str, list[str]]:
    """Every query parameter, in order of appearance; pairs that cannot be decoded are left out."""
    found: dict[str, list[str]] = {}
    if not request.query:
        return found
    for pair in request.query.split(b"&"):
        if not pair or b";" in pair:
            continue
        name, _, value = pair.partition(b"=")
        try:
            decoded, text = query_unescape(name), query_unescape(value)
        except ValueError:
            continue
        found.setdefault(decoded, []).append(text)
    return found


def first_param(request: Request, name: str) -> str:
    """The first value of a query parameter, or ""."""
    values = query_params(request).get(name) if request.query else None
    return as_utf8(values[0]) if values else ""


def metadata_params(request: Request) -> dict[str, str]:
    """The ``metadata.<key>=<value>`` parameters without their prefix; the first value wins."""
    if not request.query or request.query.find(b"metadata.") < 0:
        return {}
    start = len(_METADATA)
    return {
        as_utf8(name[start:]): as_utf8(values[0])
        for name, values in query_params(request).items()
        if name.startswith(_METADATA)
    }


def metadata_headers(metadata: Mapping[str, str]) -> list[Header]:
    """Response metadata as headers, spelled as Go's HTTP library spells them."""
    return [
        (b"Metadata." + name.lower().encode(), value.encode("utf-8", "replace"))
        for name, value in metadata.items()
    ]
