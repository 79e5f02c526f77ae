"""The app channel to a ``grpc`` or ``grpcs`` app."""

from __future__ import annotations

from typing import Any, Literal

from google.protobuf.message import Message

from dapr_common.grpc.client import AfterCall, Call, GrpcChannel, UnaryResult
from dapr_sidecar.channel.base import AppUnhealthyError, Metadata
from dapr_sidecar.channel.concurrency import ConcurrencyGate
from dapr_sidecar.channel.http import unverified_context

_TOKEN = "dapr-api-token"  # noqa: S105 - a header name


class AppGrpcChannel:
    """Implements ``GrpcAppChannel``."""

    kind: Literal["grpc"] = "grpc"

    def __init__(
        self,
        address: str,
        port: int,
        *,
        tls: bool,
        token: str,
        max_concurrency: int,
        max_message_bytes: int | None,
        after: AfterCall | None = None,
    ) -> None:
        shown = f"[{address}]" if ":" in address else address
        self.channel = GrpcChannel(
            f"{shown}:{port}",
            ssl=unverified_context() if tls else None,
            max_receive_bytes=max_message_bytes,
            after=after,
        )
        self._token = token
        self._gate = ConcurrencyGate(max_concurrency)
        self.healthy = True

    async def unary(
        self,
        method: str,
        request: Message,
        response_type: type[Message],
        *,
        metadata: Metadata = (),
        timeout: float | None = None,
        probe: bool = False,
    ) -> Any:
        """Call the app; the answer's message. Raises ``AppUnhealthyError`` or ``RpcError``."""
        result = await self.call(
            method, request, response_type, metadata=metadata, timeout=timeout, probe=probe
        )
        return result.message

    async def call(
        self,
        method: str,
        request: Message,
        response_type: type[Message],
        *,
        metadata: Metadata = (),
        timeout: float | None = None,
        probe: bool = False,
    ) -> UnaryResult:
        """As ``unary``, with initial metadata and trailers."""
        if probe:
            return await self.channel.unary(method, request, response_type, timeout=timeout)
        await self._enter()
        try:
            return await self.channel.unary(
                method,
                request,
                response_type,
                metadata=self._with_token(metadata),
                timeout=timeout,
            )
        finally:
            self._gate.leave()

    async def open(self, method: str, metadata: Metadata, timeout: float | None) -> Call:
        """Start a streaming call; ``leave`` must be called when it is over."""
        await self._enter()
        try:
            return await self.channel.open(method, self._with_token(metadata), timeout)
        except BaseException:
            self._gate.leave()
            raise

    def leave(self) -> None:
        """A call started with ``open`` is over."""
        self._gate.leave()

    async def close(self) -> None:
        """Close the connection to the app."""
        await self.channel.close()

    async def _enter(self) -> None:
        if not self.healthy:
            raise AppUnhealthyError
        await self._gate.enter()

    def _with_token(self, metadata: Metadata) -> Metadata:
        kept = [pair for pair in metadata if pair[0] != _TOKEN]
        if self._token:
            kept.append((_TOKEN, self._token))
        return kept
