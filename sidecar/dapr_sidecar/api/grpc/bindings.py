"""gRPC methods of the bindings API."""

from __future__ import annotations

from dapr_common.grpc.server import Context, Method
from dapr_common.wire.dapr.proto.runtime.v1 import binding_pb2
from dapr_sidecar.blocks.bindings.output import BindingsBlock


def methods(block: BindingsBlock) -> list[Method]:
    """The methods of the bindings API."""

    async def invoke(
        request: binding_pb2.InvokeBindingRequest, context: Context
    ) -> binding_pb2.InvokeBindingResponse:
        metadata = dict(request.metadata)
        baggage = context.get("baggage")
        if isinstance(baggage, str):
            metadata["baggage"] = baggage
        found = await block.invoke(request.name, request.operation, request.data, metadata)
        if found is None:
            return binding_pb2.InvokeBindingResponse()
        return binding_pb2.InvokeBindingResponse(data=found.data, metadata=found.metadata)

    return [
        Method(
            "/dapr.proto.runtime.v1.Dapr/InvokeBinding",
            "unary_unary",
            binding_pb2.InvokeBindingRequest,
            binding_pb2.InvokeBindingResponse,
            invoke,
        )
    ]
