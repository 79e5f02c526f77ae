"""A pluggable state store: any language with gRPC can do this; here it is Python.

The messages come from Dapr's ``.proto`` files, made once by

    python -m grpc_tools.protoc -I ../../../proto --python_out=. --grpc_python_out=. \
        dapr/proto/components/v1/common.proto dapr/proto/components/v1/state.proto
"""

# ruff: noqa: N802 - the methods have the names of the protocol

from __future__ import annotations

import os
import pathlib
import signal
import sys
import threading
from concurrent import futures

import grpc
from dapr.proto.components.v1 import common_pb2, state_pb2, state_pb2_grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

FOLDER = os.environ.get("DAPR_COMPONENT_SOCKETS_FOLDER", "/tmp/dapr-components-sockets")
NAME = "my-store"  # the manifest's type is state.my-store


class Store(state_pb2_grpc.StateStoreServicer):
    """A dictionary; every value has a number that changes with it, as its etag."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[bytes, int]] = {}
        self._writes = 0
        self._turn = threading.Lock()

    def Init(self, request, context):
        print("told:", dict(request.metadata.properties), flush=True)
        return state_pb2.InitResponse()

    def Features(self, request, context):
        return common_pb2.FeaturesResponse(features=["ETAG"])

    def Ping(self, request, context):
        return common_pb2.PingResponse()

    def Get(self, request, context):
        if request.key not in self._values:
            return state_pb2.GetResponse()
        data, etag = self._values[request.key]
        return state_pb2.GetResponse(data=data, etag=state_pb2.Etag(value=str(etag)))

    def Set(self, request, context):
        with self._turn:
            self._check(request, context)
            self._writes += 1
            self._values[request.key] = (request.value, self._writes)
        return state_pb2.SetResponse()

    def Delete(self, request, context):
        with self._turn:
            self._check(request, context)
            self._values.pop(request.key, None)
        return state_pb2.DeleteResponse()

    def _check(self, request, context):
        """Refuse an etag that is not the value's: Dapr knows by the status and its details."""
        _, etag = self._values.get(request.key, (b"", 0))
        if request.HasField("etag") and request.etag.value != str(etag):
            text = f"the etag of {request.key} is not {request.etag.value}"
            detail = any_pb2.Any()
            violation = error_details_pb2.BadRequest.FieldViolation(field="etag", description=text)
            detail.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
            code = grpc.StatusCode.FAILED_PRECONDITION.value[0]
            status = status_pb2.Status(code=code, message=text, details=[detail])
            context.abort_with_status(rpc_status.to_status(status))


def main() -> None:
    """Serve until SIGTERM."""
    socket = pathlib.Path(FOLDER) / f"{NAME}.sock"
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=10))
    state_pb2_grpc.add_StateStoreServicer_to_server(Store(), server)
    # Reflection is how the sidecar learns what there is.
    service = state_pb2.DESCRIPTOR.services_by_name["StateStore"].full_name
    reflection.enable_server_reflection((service, reflection.SERVICE_NAME), server)
    server.add_insecure_port(f"unix://{socket}")
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.wait_for_termination()


if __name__ == "__main__":
    main()
