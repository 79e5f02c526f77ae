"""The two HTTP servers every control plane program has: health and metrics."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from dapr_common.aio.listeners import bind_all
from dapr_common.http.messages import Handler, Request, Response
from dapr_common.http.server import HttpServer
from dapr_common.observe.health import Readiness
from dapr_common.observe.metrics import Registry

_METRICS_TYPE = (b"Content-Type", b"text/plain; version=0.0.4; charset=utf-8")
_MAX_BODY_BYTES = 1 << 20
_MAX_HEADER_BYTES = 64 << 10


class HealthServer:
    """Answers ``/healthz``: 200 when every target is ready, else 503; what is missing is logged.

    ``pages`` are served beside it, by their path.
    """

    def __init__(
        self,
        readiness: Readiness,
        logger: logging.Logger,
        pages: Mapping[bytes, Handler] | None = None,
    ) -> None:
        self._pages = dict(pages or {})
        self._readiness = readiness
        self._log = logger
        self._said: list[str] = []
        self._server = _server(self._answer)

    async def open(self, address: str, port: int) -> int:
        """Listen; an empty address is every interface. Returns the port. Raises ``BindError``."""
        addresses = [address] if address else []
        return await bind_all("health server", self._server.listen_tcp, addresses, port)

    async def close(self) -> None:
        """Stop answering."""
        await self._server.close(0)

    async def _answer(self, request: Request) -> Response:
        if (page := self._pages.get(request.path)) is not None:
            return await page(request)
        if request.path != b"/healthz":
            return Response(404)
        missing = self._readiness.missing()
        if missing and missing != self._said:  # probes come every few seconds
            self._log.info("Not ready yet: %s", ", ".join(missing))
        self._said = missing
        return Response(503 if missing else 200)


class MetricsServer:
    """Answers every path with the metrics: scrapers ask for ``/`` and for ``/metrics``."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._server = _server(self._answer)

    async def open(self, address: str, port: int) -> int:
        """Listen; an empty address is every interface. Returns the port. Raises ``BindError``."""
        addresses = [address] if address else []
        return await bind_all("metrics server", self._server.listen_tcp, addresses, port)

    async def close(self) -> None:
        """Stop answering."""
        await self._server.close(0)

    async def _answer(self, request: Request) -> Response:
        return Response(200, [_METRICS_TYPE], self._registry.render())


def _server(answer: Handler) -> HttpServer:
    return HttpServer(
        answer, max_body_bytes=_MAX_BODY_BYTES, max_header_bytes=_MAX_HEADER_BYTES, h2c=False
    )
