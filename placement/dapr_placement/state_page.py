"""``GET /placement/state``: who hosts what, for people."""

from __future__ import annotations

from typing import Any

import orjson

from dapr_common.grpc.errors import RpcError
from dapr_common.http.messages import Request, Response
from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb
from dapr_placement.service import PlacementService

PATH = b"/placement/state"
_JSON = (b"Content-Type", b"application/json")
_TEXT = (b"Content-Type", b"text/plain; charset=utf-8")


class StatePage:
    """Answers with the tables as they are now; 500 where this server does not lead."""

    def __init__(self, service: PlacementService) -> None:
        self._service = service

    async def answer(self, request: Request) -> Response:
        """Handle a request."""
        if request.method != "GET":
            return Response(405)
        try:
            self._service.must_lead()
        except RpcError as error:
            return Response(500, [_TEXT], f"{error}\n".encode())
        tables = {
            namespace.name: _shown(
                {
                    "hosts": [_host(host) for host in namespace.hosts],
                    "version": namespace.version,
                }
            )
            for namespace in self._service.namespaces
        }
        return Response(200, [_JSON], orjson.dumps(_shown({"tables": tables})))


def _host(host: pb.Host) -> dict[str, Any]:
    return _shown(
        {
            "name": host.name,
            "port": host.port,
            "load": host.load,
            "entities": list(host.entities),
            "id": host.id,
            "pod": host.pod,
            "api_level": host.api_level,
            "namespace": host.namespace,
            "operation": int(host.operation),
        }
    )


def _shown(fields: dict[str, Any]) -> dict[str, Any]:
    """Empty fields are left out, as Go writes them."""
    return {name: value for name, value in fields.items() if value}
