"""A call and its answer, in the form every entrance and every way out shares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from google.protobuf.message import Message

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.http.messages import Header


class InvocationError(Exception):
    """A call that could not be made; the text is what API callers read."""


class Invocation:
    """One call to an application.

    ``metadata`` has lower-case names; values of ``-bin`` names are base64 text. ``body`` is the
    whole body, or ``None`` while ``chunks`` still brings it. ``streaming``: the caller did not
    declare a length, so the call is made once and never again. ``verb`` is empty when a gRPC
    caller gave no HTTP extension. ``most_kept`` bounds how much of a body is held in memory.
    """

    __slots__ = (
        "_begun",
        "body",
        "chunks",
        "content_length",
        "content_type",
        "from_grpc",
        "metadata",
        "method",
        "most_kept",
        "query",
        "streaming",
        "target",
        "type_url",
        "verb",
    )

    def __init__(
        self,
        target: str,
        method: str,
        *,
        verb: str = "",
        query: str = "",
        metadata: Sequence[Header] = (),
        from_grpc: bool = False,
        content_type: str = "",
        body: bytes | None = b"",
        chunks: Callable[[], AsyncIterator[bytes]] | None = None,
        content_length: int | None = None,
        type_url: str = "",
        streaming: bool = False,
    ) -> None:
        self.target = target
        self.method = method
        self.verb = verb
        self.query = query
        self.metadata = metadata
        self.from_grpc = from_grpc
        self.content_type = content_type
        self.body = body
        self.chunks = chunks
        self.content_length = content_length
        self.type_url = type_url
        self.streaming = streaming
        self.most_kept: int | None = None
        self._begun = False

    @property
    def wants_events(self) -> bool:
        """Whether the caller asks for server-sent events."""
        for name, value in self.metadata:
            if name == b"accept":
                return value.lower() == b"text/event-stream"
        return False

    @property
    def intact(self) -> bool:
        """Whether the call can be made again: its body is whole, or nothing of it was taken."""
        return self.body is not None or not self._begun

    @property
    def repeatable(self) -> bool:
        """Whether a failed attempt may be followed by another."""
        return not self.streaming and self.intact

    async def keep_body(self) -> bytes:
        """The whole body, kept so that it can be sent again.

        Raises ``RpcError`` (resource exhausted) for more than ``most_kept``.
        """
        if self.body is None:
            self.body = await _whole(self.begin(), self.most_kept, "the app takes it only whole")
        return self.body

    def outgoing(self) -> bytes | AsyncIterator[bytes]:
        """The body as a client wants it."""
        return self.begin() if self.body is None else self.body

    def begin(self) -> AsyncIterator[bytes]:
        """Take a body that is still arriving, which nobody can do twice."""
        assert self.chunks is not None
        self._begun = True
        return self.chunks()


class Answer:
    """What an application answered.

    ``status`` is an HTTP status (from 100) or a gRPC code. ``headers`` have lower-case names.
    ``body`` is the whole body, or an iterator that must be read to its end or closed.
    """

    __slots__ = (
        "body",
        "content_type",
        "details",
        "events",
        "from_grpc",
        "headers",
        "message",
        "status",
        "trailers",
        "type_url",
    )

    def __init__(
        self,
        status: int,
        headers: Sequence[Header],
        content_type: str,
        body: bytes | AsyncIterator[bytes],
        *,
        from_grpc: bool = False,
        trailers: Sequence[Header] = (),
        message: str = "",
        details: Sequence[Message] = (),
        type_url: str = "",
        events: bool = False,
    ) -> None:
        self.status = status
        self.headers = headers
        self.content_type = content_type
        self.body = body
        self.from_grpc = from_grpc
        self.trailers = trailers
        self.message = message
        self.details = details
        self.type_url = type_url
        self.events = events

    @property
    def ok(self) -> bool:
        """Whether the app took the call: 200-399, or gRPC's OK."""
        status = self.status
        return 200 <= status < 400 or status == 0

    async def read(self, most: int | None) -> bytes:
        """The whole body. Raises ``RpcError`` (resource exhausted) for more than ``most``."""
        if not isinstance(self.body, bytes):
            try:
                self.body = await _whole(self.body, most, "it is needed whole")
            except RpcError:
                await self.close()
                raise
        return self.body

    async def close(self) -> None:
        """Give up what is still arriving."""
        closer = getattr(self.body, "aclose", None)
        if closer is not None:
            await closer()


async def _whole(chunks: AsyncIterator[bytes], most: int | None, why: str) -> bytes:
    kept, size = [], 0
    async for chunk in chunks:
        size += len(chunk)
        if most is not None and size > most:
            raise RpcError(
                GrpcCode.RESOURCE_EXHAUSTED,
                f"the body is larger than {most} bytes (--max-body-size), and {why}",
            )
        if chunk:
            kept.append(chunk)
    return b"".join(kept)
