"""JSON requests to one of several servers: the first that answers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from dapr_common.aio.host import join_host_port
from dapr_common.http.client import ClientResponse, HttpClient
from dapr_common.http.messages import Header
from dapr_common.lease import StoreError

_TRY_SECONDS = 2.0
_MOST_BYTES = 1 << 20
_SHOWN = 200


class Servers:
    """A server that does not answer makes the next one the first to be asked."""

    def __init__(self, servers: Sequence[tuple[str, int]], tls: ssl.SSLContext | None) -> None:
        self._clients = [
            HttpClient(
                host,
                port,
                ssl=tls,
                server_hostname=host if tls is not None else None,
                connect_timeout=_TRY_SECONDS,
                max_connections=2,
            )
            for host, port in servers
        ]
        self._names = [join_host_port(host, port) for host, port in servers]
        self._first = 0

    async def request(
        self, method: str, target: str, headers: list[Header], body: Any = None
    ) -> tuple[int, bytes]:
        """Status and body of an answer below 500. Raises ``StoreError``."""
        failures = []
        for _ in self._clients:
            name = self._names[self._first]
            try:
                async with asyncio.timeout(_TRY_SECONDS):
                    status, text = await self._ask(method, target, headers, body)
                if status < 500:
                    return status, text
                failures.append(f"{name}: {shown(status, text)}")
            except TimeoutError:
                failures.append(f"{name}: no answer within {_TRY_SECONDS:g}s")
            except OSError as error:
                failures.append(f"{name}: {error}")
            self._first = (self._first + 1) % len(self._clients)
        raise StoreError("; ".join(failures))

    async def _ask(
        self, method: str, target: str, headers: list[Header], body: Any
    ) -> tuple[int, bytes]:
        raw = None if body is None else orjson.dumps(body)
        response = await self._clients[self._first].request(
            method,
            target.encode(),
            [*headers, (b"Content-Type", b"application/json")],
            raw,
            content_length=None if raw is None else len(raw),
        )
        return response.status, await _read(response)

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients:
            await client.close()


async def _read(response: ClientResponse) -> bytes:
    text = b""
    async for chunk in response.chunks():
        text += chunk
        if len(text) > _MOST_BYTES:
            raise StoreError("an answer of more than 1 MiB")
    return text


def parsed(text: bytes) -> Any:
    """An answer's JSON. Raises ``StoreError``."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise StoreError(f"an answer that is no JSON: {error}") from error


@contextmanager
def odd_answers(system: str) -> Iterator[None]:
    """JSON that is not what the system answers, but perhaps a proxy: raises ``StoreError``."""
    try:
        yield
    except (LookupError, TypeError, AttributeError) as error:
        raise StoreError(f"{system}: an answer of another form than expected: {error!r}") from error


def shown(status: int, text: bytes) -> str:
    """An answer for a message."""
    return f"status {status}: {text[:_SHOWN].decode('utf-8', 'replace').strip()}"
