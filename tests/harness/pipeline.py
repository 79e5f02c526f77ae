"""One middleware around a handler that answers with what reached it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from harness.block_api import Answer

from dapr_common.http.messages import Handler, Header, Request, Response

Wrapped = Callable[..., Awaitable["Piped"]]


async def echo(request: Request) -> Response:
    """The request as JSON; headers joined by name."""
    headers: dict[str, str] = {}
    for name, value in request.headers:
        key, text = name.decode(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    seen = {
        "path": request.path.decode("latin-1"),
        "headers": headers,
        "body": (await request.read()).decode("latin-1"),
    }
    return Response(200, [], orjson.dumps(seen))


class Piped:
    """A pipeline of one middleware."""

    def __init__(self, middleware: Any, handler: Handler) -> None:
        self.middleware = middleware
        self._handler = handler

    async def call(
        self,
        path: str = "/",
        method: str = "GET",
        body: bytes = b"",
        peer: str = "127.0.0.1:5000",
        more: list[Header] | None = None,
        **headers: str,
    ) -> Answer:
        """One request; ``x_real_ip="1.2.3.4"`` is a header, ``more`` are others."""
        target, _, query = path.encode().partition(b"?")
        pairs: list[Header] = [
            (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
        ]
        pairs += more or []
        request = Request(method, target, query, pairs, body=body, peer=peer)
        response = await self._handler(request)
        assert isinstance(response.body, bytes)
        return Answer(response.status, response.headers, response.body)
