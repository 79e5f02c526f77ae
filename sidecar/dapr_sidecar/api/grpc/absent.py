"""gRPC methods of APIs that this product does not have."""

from __future__ import annotations

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, Method
from dapr_sidecar.api.grpc.groups import GROUPS
from dapr_sidecar.blocks.absent import AbsentApis

_SERVICE = "/dapr.proto.runtime.v1.Dapr/"
_CONVERSE = ("ConverseAlpha1", "ConverseAlpha2")


def methods(apis: AbsentApis) -> list[Method]:
    """Each only says that it is not there."""

    async def workflow(_request: bytes, _context: Context) -> bytes:
        raise apis.workflow()

    async def converse(request: bytes, _context: Context) -> bytes:
        # In both versions the name has the same number; who never asks does not pay for the type.
        from google.protobuf.message import DecodeError

        from dapr_common.wire.dapr.proto.runtime.v1 import ai_pb2

        try:
            name = ai_pb2.ConversationRequest.FromString(request).name
        except DecodeError as error:
            text = f"grpc: error unmarshalling request: {error}"
            raise RpcError(GrpcCode.INTERNAL, text) from error
        raise apis.conversation(name)

    return [
        *(
            Method(_SERVICE + name, "unary_unary", None, None, workflow)
            for name, group in GROUPS.items()
            if group.endswith("/workflows")
        ),
        *(Method(_SERVICE + name, "unary_unary", None, None, converse) for name in _CONVERSE),
    ]
