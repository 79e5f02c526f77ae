"""An HTTP app inside the test: it keeps what it was asked, and answers when the test wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import orjson
from harness.programs import free_port

from dapr_common.http.messages import Request, Response
from dapr_common.http.server import HttpServer


@dataclass(frozen=True)
class Seen:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


Handle = Callable[[Seen], Awaitable[int | tuple[int, object]]]


class LocalApp:
    """Routes are ``"METHOD /path"`` → status, (status, JSON), or an async function giving these."""

    def __init__(
        self, routes: Mapping[str, Any] | None = None, *, port: int = 0, host: str = "127.0.0.1"
    ) -> None:
        self._host = host
        self.port = port or free_port()
        self.routes: dict[str, Any] = dict(routes or {})
        self.seen: list[Seen] = []
        self._news = asyncio.Condition()
        self._server = HttpServer(self._answer, max_body_bytes=None, max_header_bytes=1 << 16)

    def seen_on(self, path: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.path == path]

    async def wait(self, path: str, count: int = 1, seconds: float = 30.0) -> list[Seen]:
        """The first ``count`` requests to a path, once they came."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: len(self.seen_on(path)) >= count)
        return self.seen_on(path)[:count]

    async def _answer(self, request: Request) -> Response:
        headers = {name.decode(): value.decode() for name, value in request.headers}
        path = request.path.decode()
        seen = Seen(request.method, path, headers, await request.read())
        async with self._news:
            self.seen.append(seen)
            self._news.notify_all()
        answer = self.routes.get(f"{request.method} {path}", 404)
        if callable(answer):
            answer = await answer(seen)
        status, body = answer if isinstance(answer, tuple) else (answer, None)
        content = b"" if body is None else orjson.dumps(body)
        return Response(status, [(b"Content-Type", b"application/json")], content)

    async def __aenter__(self) -> Self:
        await self._server.listen_tcp(self._host, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close(0)
