"""The admission webhook: ``POST /mutate`` over TLS, bounded in every way."""

from __future__ import annotations

import asyncio
from typing import Protocol

from dapr_common.aio.listeners import bind_all
from dapr_common.http.messages import BodyIncompleteError, BodyTooLargeError, Request, Response
from dapr_common.http.server import HttpServer
from dapr_common.kube.api_errors import KubeError
from dapr_common.observe.logs import get_logger
from dapr_common.security.tls import TlsContexts
from dapr_injector.admission import Answer, Candidate, examine, inject, reject
from dapr_injector.callers import Callers
from dapr_injector.injection import Facts
from dapr_injector.reports import Reports
from dapr_injector.review import refusal
from dapr_injector.settings import Settings

_LOG = get_logger("dapr.injector")
_PATH = b"/mutate"
_MOST_BODY_BYTES = 8 << 20  # the API server takes objects of 3 MiB at most
_MOST_HEADER_BYTES = 16 << 10
_MOST_CONNECTIONS = 1000
_HEADER_SECONDS = 10.0
_IDLE_SECONDS = 180.0  # the API server closes first: it never finds a connection gone
_LEAVE_SECONDS = 3.0
_GRACE_SECONDS = 10.0


class Source(Protocol):
    """Knows what the cluster says."""

    async def facts(self, candidate: Candidate) -> Facts:
        """What one pod's sidecar depends on. Raises ``KubeError``."""
        ...


class Webhook:
    """Answers one request after the other; ``leaving`` asks callers to come to somebody else."""

    def __init__(
        self, settings: Settings, callers: Callers, source: Source, reports: Reports
    ) -> None:
        self.leaving = False
        self._settings = settings
        self._callers = callers
        self._source = source
        self._reports = reports

    async def handle(self, request: Request) -> Response:
        """Answer a request, whatever it is."""
        if request.path != _PATH:
            return _text(404, "404 page not found")
        if request.method != "POST":
            return _text(405, "use POST")
        self._reports.received()
        try:
            response = await self._mutate(request)
        except asyncio.CancelledError:  # the caller did not wait
            self._reports.failed("write_response")
            raise
        except Exception:  # noqa: BLE001 - the API server decides by the webhook's failurePolicy
            self._reports.failed("response")
            _LOG.exception("A request for admission could not be answered")
            response = _text(500, "the injector failed, its log says why")
        response.close = response.close or self.leaving
        return response

    async def _mutate(self, request: Request) -> Response:
        try:
            body = await request.read()
        except BodyTooLargeError:
            return _text(413, f"the body has more than {_MOST_BODY_BYTES} bytes")
        except BodyIncompleteError:
            body = b""
        content_type = (request.header(b"content-type") or b"").decode("latin-1")
        if (refused := refusal(content_type, body)) is not None:
            _LOG.warning("A request is refused: %s", refused[1])
            return _text(*refused)
        answer = await self._answer(body)
        self._reports.answered(answer, body)
        return Response(200, [(b"Content-Type", b"application/json")], answer.body)

    async def _answer(self, body: bytes) -> Answer:
        found = examine(body, self._callers)
        if isinstance(found, Answer):
            return found
        try:
            facts = await self._source.facts(found)
        except KubeError as error:
            return reject(found, f"the cluster cannot be asked what the pod needs: {error}")
        return inject(found, self._settings, facts)


class WebhookServer:
    """Listens for a webhook; the certificate may change while it does."""

    def __init__(
        self, webhook: Webhook, contexts: TlsContexts, *, leave_seconds: float = _LEAVE_SECONDS
    ) -> None:
        contexts.server.set_alpn_protocols(["http/1.1"])
        self._webhook = webhook
        self._contexts = contexts
        self._leave_seconds = leave_seconds
        self._server = HttpServer(
            webhook.handle,
            max_body_bytes=_MOST_BODY_BYTES,
            max_header_bytes=_MOST_HEADER_BYTES,
            header_timeout=_HEADER_SECONDS,
            idle_timeout=_IDLE_SECONDS,
            max_connections=_MOST_CONNECTIONS,
            h2c=False,
        )

    async def open(self, address: str, port: int) -> int:
        """Listen; an empty address is every interface. Returns the port. Raises ``BindError``."""
        return await bind_all("webhook", self._bind, [address] if address else [], port)

    async def close(self) -> None:
        """Serve on until the cluster knows that this pod goes, then end what is under way.

        A request that finds nobody leaves its pod without a sidecar.
        """
        self._webhook.leaving = True
        if self._server.connections:
            await asyncio.sleep(self._leave_seconds)
        await self._server.close(_GRACE_SECONDS)

    async def _bind(self, host: str | None, port: int) -> int:
        return await self._server.listen_tcp(host, port, ssl=self._contexts.server)


def _text(status: int, text: str) -> Response:
    headers = [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"X-Content-Type-Options", b"nosniff"),
    ]
    return Response(status, headers, text.encode() + b"\n")
