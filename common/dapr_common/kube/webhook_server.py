"""Webhooks that the API server calls: ``POST`` over TLS, one path each, bounded in every way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from dapr_common.aio.listeners import bind_all
from dapr_common.http.held_bodies import HeldBodies, Read, TooMuchHeldError
from dapr_common.http.messages import (
    BodyIncompleteError,
    BodyTooLargeError,
    Handler,
    Request,
    Response,
)
from dapr_common.http.server import HttpServer
from dapr_common.observe.logs import get_logger
from dapr_common.security.tls import TlsContexts

_LOG = get_logger("dapr.kube.webhooks")
_JSON = b"application/json"
_MOST_BODY_BYTES = 8 << 20  # the API server takes objects of 3 MiB at most
_MOST_HELD_BYTES = 64 << 20
"""Of all bodies that are being read or answered: whoever reaches the port may send some."""
_MOST_HEADER_BYTES = 16 << 10
_MOST_CONNECTIONS = 1000
_HEADER_SECONDS = 10.0
_BODY_SECONDS = 10.0  # the API server sends a review in one go
_IDLE_SECONDS = 180.0  # the API server closes first: it never finds a connection gone
_LEAVE_SECONDS = 3.0
_GRACE_SECONDS = 10.0


class RefusedError(Exception):
    """A request is answered with a status and a text: no review can be."""

    def __init__(self, status: int, text: str, *, close: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.close = close
        """Whether the connection ends: what still comes of the request is of no use."""


async def read_review(request: Request) -> bytes:
    """The body of a request that can be a review. Raises ``RefusedError``."""
    try:
        body = await request.read()
    except BodyTooLargeError as error:
        raise RefusedError(413, "the body is larger than any review") from error
    except BodyIncompleteError:
        body = b""
    if not body:
        raise RefusedError(400, "empty body")
    if request.header(b"content-type") != _JSON:
        raise RefusedError(415, "invalid Content-Type, expected `application/json`")
    return body


def reviewed(body: bytes) -> Response:
    """The response with a review as its body."""
    return Response(200, [(b"Content-Type", _JSON)], body)


class WebhookServer:
    """Serves webhooks by path; the certificate may change while it does.

    A webhook may raise ``RefusedError``. When it fails otherwise the log says why, and the API
    server decides by the webhook's ``failurePolicy``.
    """

    def __init__(
        self,
        webhooks: Mapping[bytes, Handler],
        contexts: TlsContexts,
        *,
        max_body_bytes: int = _MOST_BODY_BYTES,
        max_held_bytes: int = _MOST_HELD_BYTES,
        body_seconds: float = _BODY_SECONDS,
        leave_seconds: float = _LEAVE_SECONDS,
    ) -> None:
        contexts.server.set_alpn_protocols(["http/1.1"])
        self._webhooks = webhooks
        self._contexts = contexts
        self._bodies = HeldBodies(max_held_bytes)
        self._body_seconds = body_seconds
        self._leave_seconds = leave_seconds
        self._leaving = False
        self._server = HttpServer(
            self._handle,
            max_body_bytes=max_body_bytes,
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

        Whoever asks meanwhile is told to go to another one the next time. A request that finds
        nobody fails, or lets pass what should not.
        """
        self._leaving = True
        if self._server.connections:
            await asyncio.sleep(self._leave_seconds)
        await self._server.close(_GRACE_SECONDS)

    async def _bind(self, host: str | None, port: int) -> int:
        return await self._server.listen_tcp(host, port, ssl=self._contexts.server)

    async def _handle(self, request: Request) -> Response:
        try:
            response = await self._answer(request)
        except RefusedError as error:
            _LOG.warning("A request to a webhook is refused: %s", error)
            response = _text(error.status, str(error))
            response.close = error.close
        except Exception:  # noqa: BLE001 - one request must not end the connection of others
            _LOG.exception("A request to a webhook could not be answered")
            response = _text(500, "the webhook failed, its log says why")
        response.close = response.close or self._leaving
        return response

    async def _answer(self, request: Request) -> Response:
        webhook = self._webhooks.get(request.path)
        if webhook is None:
            return _text(404, "404 page not found")
        if request.method != "POST":
            return _text(405, "use POST")
        with self._bodies.counted() as read:
            await self._hold(request, read)
            return await webhook(request)

    async def _hold(self, request: Request, read: Read) -> None:
        """Have a request hold its body. Raises ``RefusedError``."""
        try:
            async with asyncio.timeout(self._body_seconds):
                request.body = await read(request)
        except TimeoutError:
            text = f"the body did not come within {self._body_seconds:g} s"
            raise RefusedError(408, text, close=True) from None
        except TooMuchHeldError:
            raise RefusedError(503, "too much is sent at a time", close=True) from None
        except (BodyTooLargeError, BodyIncompleteError):
            return  # told again to who reads it


def _text(status: int, text: str) -> Response:
    headers = [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"X-Content-Type-Options", b"nosniff"),
    ]
    return Response(status, headers, text.encode() + b"\n")
