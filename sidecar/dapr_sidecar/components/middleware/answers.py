"""What middlewares answer by themselves, and how they look at requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from dapr_common.http.messages import Header, Request, Response
from dapr_common.http.url import clean_path, path_unescape

_TEXT: tuple[Header, ...] = (
    (b"Content-Type", b"text/plain; charset=utf-8"),
    (b"X-Content-Type-Options", b"nosniff"),
)
_DOTS = re.compile(r"/\.\.?(?:/|\Z)")
# Invocation decodes an app id once more.
_ESCAPED_APP = re.compile(r"/v1\.0/invoke/(?:(?!/method/).)*%", re.DOTALL)


def text_answer(status: int, text: str, headers: Iterable[Header] = ()) -> Response:
    """Plain text as Go's ``http.Error`` writes it."""
    return Response(status, [*_TEXT, *headers], text.encode() + b"\n")


def decoded_path(request: Request) -> str:
    """The path as rules are written for it: decoded, and cleaned as the router does.

    No spelling of a path may get around a rule. Raises ``ValueError`` for one that escapes what
    whoever serves it would resolve once more.
    """
    decoded = path_unescape(clean_path(request.path))
    if _DOTS.search(decoded) is not None:
        raise ValueError("the path has escaped dots: write it without . and ..")
    raw = clean_path(decoded.encode("utf-8", "surrogateescape"))
    path = raw.decode("utf-8", "surrogateescape")
    if _ESCAPED_APP.match(path) is not None:
        raise ValueError("the app id in the path is escaped twice: escape it once")
    return path


def put_headers(request: Request, headers: Sequence[Header]) -> None:
    """Put headers in place of whatever a client sent under their names (lower-case)."""
    if headers:
        names = {name for name, _ in headers}
        request.set_headers([*(p for p in request.headers if p[0] not in names), *headers])
