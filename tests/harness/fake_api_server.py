"""An API server that answers what a test puts in line: failures a real one has not to order."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from dapr_common.http.messages import Request, Response
from dapr_common.http.server import HttpServer
from dapr_common.kube.login import Login

Answer = Callable[[Request], Response] | Response


class FakeApiServer:
    """Answers requests with what was put in line for them; the last one stays."""

    def __init__(self) -> None:
        self.line: deque[Answer] = deque()
        self.asked: list[tuple[str, str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.url = ""

    @property
    def login(self) -> Login:
        return Login(server=self.url, tls=None, token=lambda: "t0k3n")

    async def handle(self, request: Request) -> Response:
        self.asked.append((request.method, request.path.decode(), request.query.decode()))
        self.headers.append({k.decode(): v.decode() for k, v in request.headers})
        self.bodies.append(await request.read())
        answer = self.line.popleft() if len(self.line) > 1 else self.line[0]
        return answer(request) if callable(answer) else answer


@asynccontextmanager
async def fake_api_server() -> AsyncIterator[FakeApiServer]:
    """One on a free port."""
    fake = FakeApiServer()
    http = HttpServer(fake.handle, max_body_bytes=None, max_header_bytes=65536)
    fake.url = f"http://127.0.0.1:{await http.listen_tcp('127.0.0.1', 0)}"
    try:
        yield fake
    finally:
        await http.close(0)


def answer(body: Any, status: int = 200) -> Response:
    return Response(status, [(b"Content-Type", b"application/json")], json.dumps(body).encode())


def failure(code: int, reason: str, message: str = "no") -> Response:
    return answer({"kind": "Status", "code": code, "reason": reason, "message": message}, code)


def pod(name: str, version: int, **labels: str) -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "resourceVersion": str(version), "labels": labels}
    return {"metadata": metadata}


def listing(version: int, *items: Any, rest: str = "") -> Response:
    metadata = {"resourceVersion": str(version), "continue": rest}
    return answer({"metadata": metadata, "items": list(items)})


def events(*written: Any, hang: bool = False, split: int = 0) -> Response:
    """A watch's answer; it ends, or stays open and silent."""
    text = b"".join(json.dumps({"type": k, "object": o}).encode() + b"\n" for k, o in written)

    async def body() -> AsyncIterator[bytes]:
        step = split or max(len(text), 1)
        for start in range(0, len(text), step):
            yield text[start : start + step]
        if hang:
            await asyncio.sleep(30)

    return Response(200, [], body())
