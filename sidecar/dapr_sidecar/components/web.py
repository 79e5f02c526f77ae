"""HTTPS calls of components to a service: one address, a deadline, an answer of bounded size."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from dapr_common.http.client import (
    Body,
    ClientResponse,
    ConnectError,
    ResponseError,
)
from dapr_common.http.messages import Header
from dapr_common.http.proxy import outward_client

_LARGEST_ANSWER = 64 << 20
_CONNECTIONS = 64
_IDLE_SECONDS = 20.0
"""Shorter than the services' own patience: a connection they just closed is not used again."""


class WebError(Exception):
    """The service cannot be reached or does not answer; ``sent``: it may have done the work."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class WebExchange:
    """An answer that is still arriving. Header names are in lower case."""

    def __init__(self, response: ClientResponse, renew: Callable[[], None]) -> None:
        self.status = response.status
        self.headers = _headers(response)
        self._response = response
        self._renew = renew

    async def parts(self) -> AsyncIterator[bytes]:
        """The body as it comes; every part gives the service the whole patience again."""
        async for part in self._response.chunks():
            self._renew()
            yield part

    async def answer(self) -> WebAnswer:
        """The whole of it, of bounded size, as ``WebService.call`` gives it."""
        return WebAnswer(self.status, self.headers, await _read(self._response))


class WebService:
    """One origin such as ``https://dynamodb.eu-west-1.amazonaws.com``.

    ``seconds`` bounds a call from beginning to end; ``name`` is what messages call the service.
    ``tls`` replaces the usual trust in the system's authorities; ``server_name`` is whom the
    service's certificate has to name when that is not the URL's host.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        seconds: float,
        tls: ssl.SSLContext | None = None,
        server_name: str = "",
    ) -> None:
        """Raises ``ValueError`` for what is no such URL."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected a URL such as https://host")
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        self.shown = f"{name} at {parts.hostname}:{port}"
        self._path = parts.path.rstrip("/")
        self._seconds = seconds
        self._client = outward_client(
            parts.hostname,
            port,
            ssl=(tls or ssl.create_default_context()) if secure else None,
            server_hostname=server_name or None,
            max_connections=_CONNECTIONS,
            idle_timeout=_IDLE_SECONDS,
            connect_timeout=seconds,
        )
        self.authority = self._client.authority.decode()

    async def call(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> WebAnswer:
        """Send a request and read the answer. Raises ``WebError``."""
        with self._failures():
            async with asyncio.timeout(self._seconds):
                response = await self._client.request(
                    method, (self._path + target).encode(), _raw(headers), body
                )
                return WebAnswer(response.status, _headers(response), await _read(response))

    @asynccontextmanager
    async def exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body = b"",
        length: int | None = None,
    ) -> AsyncIterator[WebExchange]:
        """The same for bodies that are too large to hold: ``length`` is that of one that is sent.

        ``seconds`` bounds each wait for the next part. Raises ``WebError``.
        """
        with self._failures():
            async with asyncio.timeout(self._seconds) as deadline:

                def renew() -> None:
                    with contextlib.suppress(RuntimeError):  # over: the answer came early
                        deadline.reschedule(asyncio.get_running_loop().time() + self._seconds)

                sent = body if body is None or isinstance(body, bytes) else _paced(body, renew)
                response = await self._client.request(
                    method,
                    (self._path + target).encode(),
                    _raw(headers),
                    sent,
                    content_length=length,
                )
                renew()
                try:
                    yield WebExchange(response, renew)
                finally:
                    response.close()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            text = f"{self.shown}: no answer within {self._seconds:g} s"
            raise WebError(text, sent=True) from error
        except ConnectError as error:
            raise WebError(f"{self.shown} cannot be reached: {error}", sent=False) from error
        except ResponseError as error:
            raise WebError(f"{self.shown}: {error}", sent=True) from error

    async def close(self) -> None:
        """Cut every connection; safe to call twice."""
        await self._client.close()


def is_address(host: str) -> bool:
    """Whether a URL's host is an IP address: no name can be put before it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _raw(headers: Mapping[str, str]) -> list[Header]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def _headers(response: ClientResponse) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in response.headers}


async def _paced(body: AsyncIterator[bytes], renew: Callable[[], None]) -> AsyncIterator[bytes]:
    try:
        async for part in body:
            renew()
            yield part
    finally:
        if isinstance(body, AsyncGenerator):
            await body.aclose()  # a file is closed now, not when somebody collects it


async def _read(response: ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for chunk in response.chunks():
        size += len(chunk)
        if size > _LARGEST_ANSWER:
            response.close()
            raise ResponseError(f"the answer is larger than {_LARGEST_ANSWER >> 20} MiB")
        parts.append(chunk)
    return b"".join(parts)
