"""Placement's gRPC server: pings that find dead sidecars, mutual TLS where it is on."""

from __future__ import annotations

from datetime import timedelta

from dapr_common.aio.listeners import bind_all
from dapr_common.grpc.context import Method
from dapr_common.grpc.server import GrpcServer
from dapr_common.security.identify import identify
from dapr_common.security.tls import TlsContexts

_MOST_REQUEST_BYTES = 4 << 20
_MOST_HEADER_BYTES = 16 << 10
_STREAMS_OF_A_CONNECTION = 1000
_HANDSHAKES_AT_A_TIME = 64
_LEAST_CLIENT_PING_SECONDS, _LEAST_CLIENT_PING_SHARE = 1.0, 0.2
"""Sidecars look after the connection as well, the more often the sooner they would be given up."""
_GRACE_SECONDS = 5.0


class PlacementServer:
    """Serves one method. ``contexts`` is ``None`` for plain text."""

    def __init__(
        self,
        method: Method,
        contexts: TlsContexts | None,
        *,
        keepalive_time: timedelta,
        keepalive_timeout: timedelta,
    ) -> None:
        self._contexts = contexts
        silence = (keepalive_time + keepalive_timeout).total_seconds()
        self._server = GrpcServer(
            max_receive_bytes=_MOST_REQUEST_BYTES,
            max_header_list_bytes=_MOST_HEADER_BYTES,
            max_concurrent_streams=_STREAMS_OF_A_CONNECTION,
            ping_interval=keepalive_time.total_seconds(),
            ping_timeout=keepalive_timeout.total_seconds(),
            min_client_ping_interval=min(
                _LEAST_CLIENT_PING_SECONDS, _LEAST_CLIENT_PING_SHARE * silence
            ),
        )
        self._server.add(method)

    async def open(self, address: str, port: int) -> int:
        """Listen; an empty address is every interface. Returns the port. Raises ``BindError``."""
        return await bind_all("placement server", self._bind, [address] if address else [], port)

    async def close(self) -> None:
        """Take no more calls and let the ends of those under way leave."""
        await self._server.close(_GRACE_SECONDS)

    async def _bind(self, host: str | None, port: int) -> int:
        if self._contexts is None:
            return await self._server.listen_tcp(host, port)
        return await self._server.listen_tcp(
            host,
            port,
            ssl=self._contexts.mutual_server,
            identify=identify,
            max_handshakes=_HANDSHAKES_AT_A_TIME,
        )
