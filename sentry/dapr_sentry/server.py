"""Sentry's gRPC server: TLS of its own identity, bounded in every way."""

from __future__ import annotations

from dapr_common.aio.listeners import bind_all
from dapr_common.grpc.server import GrpcServer
from dapr_common.security.tls import TlsContexts
from dapr_sentry.admission import Admission
from dapr_sentry.service import SentryService

_MOST_REQUEST_BYTES = 64 << 10  # the largest token and request are a tenth of that
_MOST_HEADER_BYTES = 16 << 10
_MOST_CALLS, _MOST_CALLS_OF_A_HOST = 2048, 1024
_MOST_CALLS_OF_A_CONNECTION = 100
_MOST_HANDSHAKES = 64
_CALL_SECONDS = 15.0
_IDLE_SECONDS = 300.0
_GRACE_SECONDS = 5.0


class SentryServer:
    """Serves one service; the certificate may change while it listens."""

    def __init__(self, service: SentryService, contexts: TlsContexts) -> None:
        admission = Admission(_MOST_CALLS, _MOST_CALLS_OF_A_HOST)
        self._contexts = contexts
        self._server = GrpcServer(
            max_receive_bytes=_MOST_REQUEST_BYTES,
            max_header_list_bytes=_MOST_HEADER_BYTES,
            max_concurrent_streams=_MOST_CALLS_OF_A_CONNECTION,
            max_idle=_IDLE_SECONDS,
            max_call_seconds=_CALL_SECONDS,
            before=admission.before,
            after=admission.after,
        )
        self._server.add(service.method)

    async def open(self, address: str, port: int) -> int:
        """Listen; an empty address is every interface. Returns the port. Raises ``BindError``."""
        return await bind_all("gRPC server", self._bind, [address] if address else [], port)

    async def close(self) -> None:
        """Take no more calls and let those under way end."""
        await self._server.close(_GRACE_SECONDS)

    async def _bind(self, host: str | None, port: int) -> int:
        return await self._server.listen_tcp(
            host, port, ssl=self._contexts.server, max_handshakes=_MOST_HANDSHAKES
        )
