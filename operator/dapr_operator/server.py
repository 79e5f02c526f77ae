"""The operator's gRPC server: mutual TLS with the newest certificate, bounded, drained."""

from __future__ import annotations

from collections.abc import Iterable

from dapr_common.aio.listeners import bind_all
from dapr_common.grpc.context import Method
from dapr_common.grpc.server import GrpcServer
from dapr_common.security.identify import identify
from dapr_common.security.tls import TlsContexts

_MOST_REQUEST_BYTES = 4 << 20
_MOST_HEADER_BYTES = 16 << 10
_STREAMS_OF_A_CONNECTION = 1000
_HANDSHAKES_AT_A_TIME = 64
_PING_SECONDS = 30.0
_GRACE_SECONDS = 5.0


class ApiServer:
    """Serves methods to whoever has a certificate of the same authority."""

    def __init__(self, methods: Iterable[Method], contexts: TlsContexts) -> None:
        self._contexts = contexts
        self._server = GrpcServer(
            max_receive_bytes=_MOST_REQUEST_BYTES,
            max_header_list_bytes=_MOST_HEADER_BYTES,
            max_concurrent_streams=_STREAMS_OF_A_CONNECTION,
            ping_interval=_PING_SECONDS,
        )
        for method in methods:
            self._server.add(method)

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._server.connections)

    async def open(self, address: str, port: int) -> int:
        """Listen; an empty address is every interface. Returns the port. Raises ``BindError``."""
        return await bind_all("gRPC server", self._bind, [address] if address else [], port)

    async def close(self) -> None:
        """Take no more calls and let those under way end."""
        await self._server.close(_GRACE_SECONDS)

    async def _bind(self, host: str | None, port: int) -> int:
        return await self._server.listen_tcp(
            host,
            port,
            ssl=self._contexts.mutual_server,
            identify=identify,
            max_handshakes=_HANDSHAKES_AT_A_TIME,
        )
