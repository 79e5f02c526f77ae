"""gRPC methods of the secrets API."""

from __future__ import annotations

from dapr_common.grpc.server import Context, Method
from dapr_common.wire.dapr.proto.runtime.v1 import secret_pb2
from dapr_sidecar.blocks.secrets import SecretsBlock

_SERVICE = "/dapr.proto.runtime.v1.Dapr/"


def methods(block: SecretsBlock) -> list[Method]:
    """The methods of the secrets API."""

    async def get(
        request: secret_pb2.GetSecretRequest, context: Context
    ) -> secret_pb2.GetSecretResponse:
        found = await block.get(request.store_name, request.key, dict(request.metadata))
        return secret_pb2.GetSecretResponse(data=found)

    async def bulk_get(
        request: secret_pb2.GetBulkSecretRequest, context: Context
    ) -> secret_pb2.GetBulkSecretResponse:
        found = await block.bulk_get(request.store_name, dict(request.metadata)) or {}
        data = {name: secret_pb2.SecretResponse(secrets=values) for name, values in found.items()}
        return secret_pb2.GetBulkSecretResponse(data=data)

    return [
        Method(
            _SERVICE + "GetSecret",
            "unary_unary",
            secret_pb2.GetSecretRequest,
            secret_pb2.GetSecretResponse,
            get,
        ),
        Method(
            _SERVICE + "GetBulkSecret",
            "unary_unary",
            secret_pb2.GetBulkSecretRequest,
            secret_pb2.GetBulkSecretResponse,
            bulk_get,
        ),
    ]
