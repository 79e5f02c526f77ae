"""A method and one call of it, as handlers see them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from google.protobuf.message import Message

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.wire import Pair, decode_bin, decode_metadata, encode_metadata

if TYPE_CHECKING:
    from dapr_common.grpc.server_stream import ServerStream

Kind = Literal["unary_unary", "unary_stream", "stream_unary", "stream_stream"]
Metadata = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Method:
    """One method. Types are protobuf classes, or ``None`` for raw bytes.

    Handlers: ``unary_unary``: ``await h(request, context)``; ``unary_stream``: an async generator
    ``h(request, context)``; ``stream_unary``: ``await h(requests, context)``; ``stream_stream``:
    an async generator ``h(requests, context)``. In place of an async generator a coroutine may
    do, which answers with ``await context.send(response)``.
    """

    path: str
    kind: Kind
    request_type: Any
    response_type: Any
    handler: Callable[..., Any]
    one_request: bool = field(init=False, repr=False)
    """Whether the input is a single message."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "one_request", self.kind.startswith("unary"))

    @property
    def name(self) -> str:
        """The method without its service."""
        return self.path.rpartition("/")[2]


class Context:
    """One call, as its handler sees it."""

    __slots__ = (
        "_index",
        "_pairs",
        "_stream",
        "deadline",
        "identity",
        "method",
        "peer",
        "scratch",
        "trailers",
    )

    def __init__(
        self,
        stream: ServerStream | None,
        method: str,
        pairs: Sequence[Pair],
        peer: str,
        identity: Any,
        index: dict[bytes, bytes] | None = None,
    ) -> None:
        self._stream = stream
        self._pairs = pairs
        self._index = index
        self.method = method
        self.peer = peer
        self.identity = identity
        """Whatever the listener's ``identify`` made of the peer's certificate, else ``None``."""
        self.deadline: float | None = None
        """Loop time, or ``None``."""
        self.trailers: list[Pair] = []
        self.scratch: dict[str, object] = {}

    # --- what came --------------------------------------------------------------------------

    @property
    def metadata(self) -> list[tuple[str, str | bytes]]:
        """All request metadata; ``-bin`` values are bytes."""
        return decode_metadata(self._pairs)

    @property
    def pairs(self) -> Sequence[Pair]:
        """The request headers as they came."""
        return self._pairs

    def get(self, name: str) -> str | bytes | None:
        """The first value of one name."""
        raw = self.raw(name.encode())
        if raw is None:
            return None
        return decode_bin(raw) if name.endswith("-bin") else raw.decode("utf-8", "replace")

    def raw(self, name: bytes) -> bytes | None:
        """The first value of one lower-case name, as it came."""
        index = self._index
        if index is None:
            index = self._index = dict(reversed(self._pairs))
        return index.get(name)

    def hide(self, name: bytes) -> None:
        """Remove a name from the metadata, so that nothing forwards it."""
        self._pairs = [pair for pair in self._pairs if pair[0] != name]
        self._index = None

    def remaining(self) -> float | None:
        """Seconds until the deadline, or ``None``."""
        if self.deadline is None:
            return None
        return max(self.deadline - asyncio.get_running_loop().time(), 0.0)

    # --- what goes --------------------------------------------------------------------------

    async def send(self, response: Message | bytes) -> None:
        """Send one response; waits while the client is slow.

        Raises ``RpcError`` once the call is over.
        """
        if self._stream is None:
            raise RuntimeError("the call is over")
        await self._stream.send(response)

    async def send_framed(self, message: bytes) -> None:
        """Send one response that is framed already, compressed if ``compress`` returned true.

        For what goes to many calls: it is encoded once. Raises ``RpcError`` once the call is over.
        """
        if self._stream is None:
            raise RuntimeError("the call is over")
        await self._stream.send_framed(message)

    def offer(self, message: bytes) -> bool:
        """``send_framed`` without waiting. Returns whether it was sent: not to a slow client.

        Raises ``RpcError`` once the call is over.
        """
        if self._stream is None:
            raise RpcError(GrpcCode.CANCELLED, "the call is over")
        return self._stream.offer(message)

    def set_initial_metadata(self, metadata: Metadata) -> None:
        """Metadata to go out with the response headers."""
        if self._stream is not None:
            self._stream.initial += encode_metadata(metadata)

    def send_initial_metadata(self) -> None:
        """Send the response headers now."""
        if self._stream is not None:
            self._stream.send_headers()

    def set_trailers(self, metadata: Metadata) -> None:
        """Metadata to go out after the last message."""
        self.trailers += encode_metadata(metadata)

    def compress(self, encoding: Literal["gzip", "deflate"] = "gzip") -> bool:
        """Compress the messages of this call, when the client takes that. Returns whether."""
        if self._stream is not None and not self._stream.headers_sent:
            accepted = self.raw(b"grpc-accept-encoding") or b""
            if encoding.encode() in (name.strip() for name in accepted.split(b",")):
                self._stream.encoding = encoding.encode()
                return True
        return False

    # --- for the server ---------------------------------------------------------------------

    def attach(self, stream: ServerStream) -> None:
        """Answer through this stream."""
        self._stream = stream

    def detach(self) -> None:
        """The call is over."""
        self._stream = None
