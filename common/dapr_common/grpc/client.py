"""A gRPC client over HTTP/2 sessions: unary and streaming calls, raw bytes or typed.

One channel reaches one address over as many connections as its streams need.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl as tls
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from google.protobuf.message import Message

from dapr_common.errors import GrpcCode
from dapr_common.grpc.backoff import Backoff
from dapr_common.grpc.call import Call, visible
from dapr_common.grpc.client_connection import ClientConnection
from dapr_common.grpc.dial import dial
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.wire import ACCEPTED_ENCODINGS, Pair, encode_metadata, format_timeout, frame
from dapr_common.http2 import session as h2

__all__ = ["AfterCall", "Call", "GrpcChannel", "Metadata", "UnaryResult", "VerifyPeer"]

Metadata = Sequence[tuple[str, str | bytes]]
VerifyPeer = Callable[[tls.SSLObject], None]
AfterCall = Callable[[str, GrpcCode, float, int, int], None]


class UnaryResult:
    """The answer of a unary call; ``message`` is bytes when no type was given."""

    __slots__ = ("_head", "_trailers", "message")

    def __init__(
        self, message: Any, head: Sequence[Pair] = (), trailers: Sequence[Pair] = ()
    ) -> None:
        self.message = message
        self._head = head
        self._trailers = trailers

    @property
    def initial_metadata(self) -> list[tuple[str, str | bytes]]:
        """The metadata that came before the message."""
        return visible(self._head)

    @property
    def trailers(self) -> list[tuple[str, str | bytes]]:
        """The metadata that came after the message."""
        return visible(self._trailers)


class GrpcChannel:
    """Calls to one target.

    ``target`` is ``host:port`` or ``unix:/path``. ``verify_peer`` may raise to refuse the peer's
    certificate; ``ssl`` gets ALPN ``h2`` set. Deadlines are the caller's ``timeout`` (seconds).
    While the target cannot be reached, calls fail at once with the last reason until the next
    attempt is due. Pings go out after ``ping_interval`` without traffic, calls or not;
    ``ping_always`` sends them whatever the traffic, for callers who ask ``heard_since``. ``after``
    gets the outcome of each call (method, code, milliseconds, request bytes, response bytes).
    """

    def __init__(
        self,
        target: str,
        *,
        ssl: tls.SSLContext | None = None,
        server_hostname: str | None = None,
        verify_peer: VerifyPeer | None = None,
        authority: str | None = None,
        max_receive_bytes: int | None = 4 << 20,
        max_header_list_bytes: int = 64 << 10,
        max_streams_per_connection: int = 100,
        ping_interval: float | None = None,
        ping_timeout: float = 5.0,
        ping_always: bool = False,
        idle_timeout: float | None = None,
        connect_timeout: float = 20.0,
        backoff: Backoff | None = None,
        user_agent: str = "dapr-python",
        engine: h2.Engine | None = None,
        after: AfterCall | None = None,
    ) -> None:
        self.target = target
        self.max_receive_bytes = max_receive_bytes
        self.max_header_list_bytes = max_header_list_bytes
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.ping_always = ping_always
        self.idle_timeout = idle_timeout
        self.engine = engine
        self.closed = False
        self._after = after
        if ssl is not None:
            ssl.set_alpn_protocols(["h2"])
        self._ssl = ssl
        self._server_hostname = server_hostname
        self._verify_peer = verify_peer
        self._connect_timeout = connect_timeout
        self._backoff = backoff or Backoff()
        self._last_failure: RpcError | None = None
        self._retry_at = 0.0
        self._max_streams = max_streams_per_connection
        self._connections: list[ClientConnection] = []
        self._retired: set[ClientConnection] = set()
        self._connecting: asyncio.Task[None] | None = None
        self._waiting = 0
        shown = authority or ("localhost" if target.startswith("unix:") else target)
        self._prefix: list[Pair] = [
            (b":method", b"POST"),
            (b":scheme", b"https" if ssl is not None else b"http"),
        ]
        self._suffix: list[Pair] = [
            (b":authority", shown.encode()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"user-agent", user_agent.encode()),
            (b"grpc-accept-encoding", ACCEPTED_ENCODINGS),
        ]

    @property
    def connected(self) -> bool:
        """Whether there is a connection, or one is being made."""
        return bool(self._connections) or self._connecting is not None

    @property
    def active(self) -> int:
        """Open streams on all connections, and calls that wait for one."""
        every = (*self._connections, *self._retired)
        return self._waiting + sum(len(connection.streams) for connection in every)

    async def unary(
        self,
        method: str,
        request: bytes | Message,
        response_type: type[Message] | None = None,
        *,
        metadata: Metadata = (),
        timeout: float | None = None,
    ) -> UnaryResult:
        """One request, one response. Raises ``RpcError``."""
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        call = await self._start(method, metadata, timeout, frame(raw), one_response=True)
        message: Any = await call.only_message()
        if response_type is not None:
            try:
                message = response_type.FromString(message)
            except Exception as error:
                raise RpcError(
                    GrpcCode.INTERNAL, f"grpc: failed to unmarshal the received message: {error}"
                ) from error
        return UnaryResult(message, call.head_pairs or (), call.trailer_pairs)

    async def open(
        self,
        method: str,
        metadata: Metadata = (),
        timeout: float | None = None,
        *,
        frames: bytes | None = None,
    ) -> Call:
        """Start a streaming call. Raises ``RpcError`` when the target cannot be reached.

        ``frames`` is the whole input when it is known already: framed messages, sent together
        with the headers and closing the call's input.
        """
        return await self._start(method, metadata, timeout, frames, one_response=False)

    async def close(self) -> None:
        """Cut every connection."""
        self.closed = True
        connecting = self._connecting
        if connecting is not None:
            connecting.cancel()
            await asyncio.wait([connecting])
        for connection in [*self._connections, *self._retired]:
            connection.abort()

    # --- for connections --------------------------------------------------------------------

    def retire(self, connection: ClientConnection) -> None:
        """A connection takes no more calls."""
        with contextlib.suppress(ValueError):
            self._connections.remove(connection)
            self._retired.add(connection)

    def forget(self, connection: ClientConnection) -> None:
        """A connection ended."""
        self.retire(connection)
        self._retired.discard(connection)

    # --- inside -----------------------------------------------------------------------------

    async def _start(
        self,
        method: str,
        metadata: Metadata,
        timeout: float | None,
        frames: bytes | None,
        *,
        one_response: bool,
    ) -> Call:
        if self._after is None:
            return await self._begin(method, metadata, timeout, frames, one_response=one_response)
        after, started = self._after, perf_counter()

        def ended(code: GrpcCode, sent: int, received: int) -> None:
            after(method, code, (perf_counter() - started) * 1000, sent, received)

        try:
            call = await self._begin(method, metadata, timeout, frames, one_response=one_response)
        except RpcError as error:
            ended(error.code, 0, 0)
            raise
        call.when_ended(ended)
        return call

    async def _begin(
        self,
        method: str,
        metadata: Metadata,
        timeout: float | None,
        frames: bytes | None,
        *,
        one_response: bool,
    ) -> Call:
        if self.closed:
            raise _closing()
        headers = [*self._prefix, (b":path", method.encode()), *self._suffix]
        connection = self._usable()
        if connection is None:
            loop = asyncio.get_running_loop()
            started = loop.time()
            connection = await self._connection(timeout)
            if timeout is not None:
                timeout = max(timeout - (loop.time() - started), 0.0)
        if timeout is not None:
            headers.append((b"grpc-timeout", format_timeout(timeout)))
        if metadata:
            headers += encode_metadata(metadata)
            connection.check_size(headers)
        call = Call(
            connection,
            headers,
            self.max_receive_bytes,
            timeout,
            self._restart,
            one_response=one_response,
        )
        connection.start(call, frames)
        return call

    async def _restart(self, call: Call) -> None:
        connection = await self._connection(None)
        if not call.done:
            connection.restart(call)

    def _usable(self) -> ClientConnection | None:
        for connection in self._connections:
            if len(connection.streams) < self._max_streams:
                return connection
        return None

    async def _connection(self, timeout: float | None) -> ClientConnection:
        """A connection with room for a stream. Raises ``RpcError``."""
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout):
                while True:
                    connection = self._usable()
                    if connection is not None:
                        return connection
                    if self.closed:
                        raise _closing()
                    await self._connected()
        except TimeoutError:
            raise RpcError(GrpcCode.DEADLINE_EXCEEDED, "context deadline exceeded") from None
        finally:
            self._waiting -= 1

    async def _connected(self) -> None:
        """Wait for one more connection; all who wait share the attempt."""
        connecting = self._connecting
        if connecting is None:
            loop = asyncio.get_running_loop()
            if self._last_failure is not None and loop.time() < self._retry_at:
                raise self._last_failure.with_traceback(None)
            connecting = self._connecting = loop.create_task(self._dial(), name="grpc-dial")
            connecting.add_done_callback(self._dialled)
        await asyncio.wait([connecting])
        if connecting.cancelled():
            raise _closing()
        if (error := connecting.exception()) is not None:
            raise error.with_traceback(None)

    def _dialled(self, task: asyncio.Task[None]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()  # waiters raise it; with none left nobody else would look at it

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection = await dial(
                self.target,
                lambda: ClientConnection(self, loop),
                ssl=self._ssl,
                server_hostname=self._server_hostname,
                verify_peer=self._verify_peer,
                timeout=self._connect_timeout,
                silence=self.ping_timeout if self.ping_interval is not None else None,
            )
        except RpcError as error:
            self._last_failure = error
            self._retry_at = loop.time() + self._backoff.next()
            raise
        self._last_failure = None
        self._backoff.reset()
        self._connections.append(connection)


def _closing() -> RpcError:
    return RpcError(GrpcCode.CANCELLED, "grpc: the client connection is closing")
