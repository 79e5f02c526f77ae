"""The app channel to an ``http``, ``https`` or ``h2c`` app."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from time import perf_counter
from typing import Literal

from dapr_common.http.client import ClientResponse, HttpClient
from dapr_common.http.messages import Header
from dapr_sidecar.channel.base import AppUnhealthyError
from dapr_sidecar.channel.concurrency import ConcurrencyGate
from dapr_sidecar.telemetry.base import Metrics

_TOKEN = b"Dapr-Api-Token"


class GatedResponse(ClientResponse):
    """A response that holds a concurrency slot until its body was consumed."""

    __slots__ = ("_leave",)

    def __init__(self, response: ClientResponse, leave: Callable[[], None]) -> None:
        super().__init__(
            response.status,
            response.reason,
            response.headers,
            response.content_length,
            response.detach(),
        )
        self._leave: Callable[[], None] | None = leave

    def close(self) -> None:
        """Give connection and slot back."""
        super().close()
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()


class HttpChannel:
    """Implements ``HttpAppChannel``."""

    kind: Literal["http"] = "http"

    def __init__(
        self,
        address: str,
        port: int,
        *,
        protocol: Literal["http", "https", "h2c"],
        token: str,
        max_concurrency: int,
        max_header_bytes: int,
        metrics: Metrics,
    ) -> None:
        tls = unverified_context() if protocol == "https" else None
        self._client = HttpClient(
            address,
            port,
            ssl=tls,
            http2=protocol == "h2c",
            max_response_header_bytes=max_header_bytes,
        )
        self._token = token.encode()
        self._gate = ConcurrencyGate(max_concurrency)
        self._metrics = metrics
        self.healthy = True

    async def request(
        self,
        method: str,
        target: bytes,
        headers: list[Header],
        body: bytes | AsyncIterator[bytes] | None = None,
        *,
        content_length: int | None = None,
        probe: bool = False,
    ) -> ClientResponse:
        """Call the app. Raises ``AppUnhealthyError``, ``ConnectError`` or ``ResponseError``."""
        if probe:
            return await self._client.request(method, target, headers, body)
        if not self.healthy:
            raise AppUnhealthyError
        if self._token:
            headers = [pair for pair in headers if pair[0].lower() != b"dapr-api-token"]
            headers.append((_TOKEN, self._token))
        started = perf_counter()
        if not self._gate.limited:
            response = await self._client.request(
                method, target, headers, body, content_length=content_length
            )
            self._count(method, target, response, started, body)
            return response
        await self._gate.enter()
        try:
            response = await self._client.request(
                method, target, headers, body, content_length=content_length
            )
        except BaseException:
            self._gate.leave()
            raise
        self._count(method, target, response, started, body)
        return GatedResponse(response, self._gate.leave)

    def _count(
        self, method: str, target: bytes, response: ClientResponse, started: float, body: object
    ) -> None:
        path = target.partition(b"?")[0].decode("utf-8", "replace")
        sent = len(body) if isinstance(body, bytes) else 0
        elapsed = (perf_counter() - started) * 1000
        received = response.content_length or 0
        self._metrics.http_client(method, path, response.status, elapsed, sent, received)

    async def close(self) -> None:
        """Close every connection to the app."""
        await self._client.close()


def unverified_context() -> ssl.SSLContext:
    """TLS to the app: its certificate is its own business, as in Dapr."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
