"""HTTPS calls of components to a service: one address, a deadline, an answer of bounded size."""

from __future__ import annotations

import asyncio
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass

from dapr_common.http.client import ClientResponse, ConnectError, HttpClient, ResponseError

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


class WebService:
    """One origin such as ``https://dynamodb.eu-west-1.amazonaws.com``.

    ``seconds`` bounds a call from beginning to end; ``name`` is what messages call the service.
    ``tls`` replaces the usual trust in the system's authorities.
    """

    def __init__(
        self, name: str, url: str, *, seconds: float, tls: ssl.SSLContext | None = None
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
        self._client = HttpClient(
            parts.hostname,
            port,
            ssl=(tls or ssl.create_default_context()) if secure else None,
            max_connections=_CONNECTIONS,
            idle_timeout=_IDLE_SECONDS,
            connect_timeout=seconds,
        )
        self.authority = self._client.authority.decode()

    async def call(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> WebAnswer:
        """Send a request and read the answer. Raises ``WebError``."""
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._client.request(
                    method, (self._path + target).encode(), raw, body
                )
                return WebAnswer(
                    response.status,
                    {name.decode().lower(): value.decode() for name, value in response.headers},
                    await _read(response),
                )
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
