"""Responses as callers of the HTTP clients see them, and how requests fail."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Protocol

from dapr_common.http.messages import Header

Body = bytes | AsyncIterator[bytes] | None

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that may be sent again when nobody knows whether they were processed."""


class ConnectError(OSError):
    """The target could not be reached; worded as Go callers see it."""


class ResponseError(OSError):
    """The connection broke before or inside the response."""

    def __init__(self, message: str, *, before_response: bool = False) -> None:
        super().__init__(message)
        self.before_response = before_response


class BodySource(Protocol):
    """Where a response's body comes from: a connection or one of its streams."""

    body_done: bool

    def take(self) -> bytes:
        """What arrived of the body since the last call."""

    async def wait(self) -> None:
        """Wait for more of the body. Raises ``ResponseError``."""

    def release(self) -> None:
        """The response was read or dropped."""


class ClientResponse:
    """A response whose body may still be arriving. Header names are lower-case.

    Read it to the end, or ``close`` it: the connection goes back to the pool only then.
    """

    __slots__ = ("_source", "content_length", "headers", "reason", "status")

    def __init__(
        self,
        status: int,
        reason: str,
        headers: list[Header],
        content_length: int | None,
        source: BodySource | None,
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.content_length = content_length
        self._source = source

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header by its lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    @property
    def complete(self) -> bool:
        """Whether the whole body has arrived (``read`` will not wait)."""
        return self._source is None or self._source.body_done

    async def read(self) -> bytes:
        """The whole body. Raises ``ResponseError`` when it breaks off."""
        if self._source is None:
            return b""
        if self._source.body_done:
            body = self._source.take()
            self.close()
            return body
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, with back-pressure. Raises ``ResponseError``."""
        source = self._source
        if source is None:
            return
        try:
            while True:
                if chunk := source.take():
                    yield chunk
                elif source.body_done:
                    return
                else:
                    await source.wait()
        finally:
            self.close()

    def detach(self) -> BodySource | None:
        """Hand the body on to a response that takes this one's place."""
        source, self._source = self._source, None
        return source

    def close(self) -> None:
        """Give the connection back, or destroy it when the body was not read to its end."""
        source, self._source = self._source, None
        if source is not None:
            source.release()


def dial_text(address: str, error: OSError) -> str:
    """A connect failure in Go's words."""
    if error.errno:
        reason = os.strerror(error.errno).lower()
    else:
        reason = str(error).lower()
        for errno, exception in ((111, ConnectionRefusedError), (113, None)):
            if exception is not None and isinstance(error, exception):
                reason = os.strerror(errno).lower()
    if "refused" in str(error).lower():
        reason = "connection refused"
    return f"dial tcp {address}: connect: {reason}"
