"""The app channel: the transport to the application, the same two forms for every block."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

from google.protobuf.message import Message

from dapr_common.http.client import ClientResponse
from dapr_common.http.messages import Header

Metadata = Sequence[tuple[str, str | bytes]]


class AppUnhealthyError(Exception):
    """App health checks are on and failing."""

    def __init__(self) -> None:
        super().__init__("app is not in a healthy state")


class HttpAppChannel(Protocol):
    """To an ``http``, ``https`` or ``h2c`` app.

    Adds the app token; waits for a concurrency slot (held until the response body was consumed);
    refuses with ``AppUnhealthyError`` unless ``probe``. Redirects are not followed.
    """

    kind: Literal["http"]

    async def request(
        self,
        method: str,
        target: bytes,
        headers: list[Header],
        body: bytes | AsyncIterator[bytes] | None = None,
        *,
        content_length: int | None = None,
        probe: bool = False,
    ) -> ClientResponse: ...


class GrpcAppChannel(Protocol):
    """To a ``grpc`` or ``grpcs`` app. ``channel`` is the raw one, for proxying."""

    kind: Literal["grpc"]

    async def unary(
        self,
        method: str,
        request: Message,
        response_type: type[Message],
        *,
        metadata: Metadata = (),
        timeout: float | None = None,
        probe: bool = False,
    ) -> Message: ...


AppChannel = HttpAppChannel | GrpcAppChannel
