"""CORS of the HTTP API, present only when ``--allowed-origins`` is given."""

from __future__ import annotations

from collections.abc import Sequence

from dapr_common.http.messages import Handler, Header, Request, Response

_METHODS = frozenset({b"HEAD", b"GET", b"POST", b"PUT", b"PATCH", b"DELETE"})
_PREFLIGHT_VARY: Header = (
    b"Vary",
    b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
)


class Cors:
    """Answers preflights and marks ordinary answers; never refuses a request."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._any = "*" in origins
        self._exact = frozenset(o.lower().encode() for o in origins if "*" not in o)
        self._globs = [_split(o.lower().encode()) for o in origins if "*" in o and o != "*"]

    def allows(self, origin: bytes) -> bool:
        """Whether scripts of this origin may read answers."""
        if self._any:
            return True
        origin = origin.lower()
        return origin in self._exact or any(
            len(origin) >= len(head) + len(tail)
            and origin.startswith(head)
            and origin.endswith(tail)
            for head, tail in self._globs
        )

    def wrap(self, following: Handler) -> Handler:
        """Put CORS in front of a handler."""

        async def handle(request: Request) -> Response:
            if request.method == "OPTIONS" and request.header(b"access-control-request-method"):
                return self._preflight(request)
            response = await following(request)
            response.headers.append((b"Vary", b"Origin"))
            origin = request.header(b"origin")
            if origin and self.allows(origin):
                shown = b"*" if self._any else origin
                response.headers.append((b"Access-Control-Allow-Origin", shown))
            return response

        return handle

    def _preflight(self, request: Request) -> Response:
        headers = [_PREFLIGHT_VARY]
        origin = request.header(b"origin") or b""
        method = request.header(b"access-control-request-method") or b""
        if origin and self.allows(origin) and method.upper() in _METHODS:
            headers.append((b"Access-Control-Allow-Origin", b"*" if self._any else origin))
            headers.append((b"Access-Control-Allow-Methods", method.upper()))
            if wanted := request.header(b"access-control-request-headers"):
                headers.append((b"Access-Control-Allow-Headers", wanted))
        return Response(200, headers)


def _split(glob: bytes) -> tuple[bytes, bytes]:
    head, _, tail = glob.partition(b"*")
    return head, tail
