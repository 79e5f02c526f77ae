"""HTTP and gRPC statuses, each as the other."""

from __future__ import annotations

from http import HTTPStatus

_TO_HTTP = (200, 408, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401)
_TO_GRPC = {
    400: 13,
    401: 16,
    403: 7,
    404: 5,
    408: 1,
    409: 6,
    429: 8,
    500: 2,
    501: 12,
    503: 14,
    504: 4,
}


def http_from_grpc(code: int) -> int:
    """The HTTP status of a gRPC code."""
    return _TO_HTTP[code] if 0 <= code < len(_TO_HTTP) else 500


def grpc_from_http(status: int) -> int:
    """The gRPC code of an HTTP status."""
    return 0 if 200 <= status < 300 else _TO_GRPC.get(status, 2)


# Where Go's words are not those of every Python.
_PHRASES = {
    413: "Request Entity Too Large",
    414: "Request URI Too Long",
    416: "Requested Range Not Satisfiable",
    418: "I'm a teapot",
    422: "Unprocessable Entity",
}


def reason_phrase(status: int) -> str:
    """Go's text of an HTTP status; empty for an unknown one."""
    if (phrase := _PHRASES.get(status)) is not None:
        return phrase
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
