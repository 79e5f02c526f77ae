"""Asking a gRPC server which services it has."""

from __future__ import annotations

from typing import Any

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.wire import frame
from dapr_common.wire.grpc.reflection.v1 import reflection_pb2 as v1
from dapr_common.wire.grpc.reflection.v1alpha import reflection_pb2 as v1alpha

_SECONDS = 5.0


class NoReflectionError(Exception):
    """The server does not tell."""


async def served_services(channel: GrpcChannel) -> frozenset[str]:
    """Full names. Raises ``RpcError``, or ``NoReflectionError``."""
    for name, types in (("v1", v1), ("v1alpha", v1alpha)):
        method = f"/grpc.reflection.{name}.ServerReflection/ServerReflectionInfo"
        try:
            return await _list(channel, method, types)
        except RpcError as error:
            if error.code is not GrpcCode.UNIMPLEMENTED:
                raise
    raise NoReflectionError("it does not serve gRPC reflection")


async def _list(channel: GrpcChannel, method: str, types: Any) -> frozenset[str]:
    asked = types.ServerReflectionRequest(list_services="*").SerializeToString()
    async with await channel.open(method, timeout=_SECONDS, frames=frame(asked)) as call:
        async for raw in call:
            answer = types.ServerReflectionResponse.FromString(raw)
            if answer.WhichOneof("message_response") == "list_services_response":
                return frozenset(one.name for one in answer.list_services_response.service)
            raise NoReflectionError(
                f"gRPC reflection refuses: {answer.error_response.error_message}"
            )
    raise NoReflectionError("gRPC reflection gives no answer")
