"""Learns the API from the server alone, as grpcurl does; prints what it saw."""

from __future__ import annotations

import json
import os
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SERVICE = "dapr.proto.runtime.v1.Dapr"


def health_of(channel: grpc.Channel, service: str, app_id: str = "") -> tuple[str, str]:
    metadata = (("dapr-app-id", app_id),) if app_id else ()
    request = health_pb2.HealthCheckRequest(service=service)
    try:
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=30, metadata=metadata)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status), ""


def main() -> None:
    with grpc.insecure_channel(f"127.0.0.1:{os.environ['DAPR_GRPC_PORT']}") as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        methods = pool.FindServiceByName(SERVICE).methods_by_name
        request = pool.FindMessageTypeByName("dapr.proto.runtime.v1.GetStateRequest")
        get_metadata = methods["GetMetadata"]
        call = channel.unary_unary(
            f"/{SERVICE}/GetMetadata",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(get_metadata.output_type).FromString,
        )
        try:
            pool.FindServiceByName("no.such.Service")
            unknown = ""
        except KeyError as error:
            unknown = str(error)
        seen = {
            "services": list(database.get_services()),
            "methods": {
                name: [method.input_type.full_name, method.output_type.full_name]
                for name, method in methods.items()
            },
            "request_fields": [field.name for field in request.fields],
            "id": call(GetMessageClass(get_metadata.input_type)(), timeout=30).id,
            "unknown": unknown,
            "app_health": {
                name: health_of(channel, name, os.environ["APP_ID"])[0]
                for name in ("other.Service", "shop.Orders")
            },
            "no_target": health_of(channel, "")[1],
        }
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main()
