"""A placement server of another make, by grpcio: it takes pings for abuse, as gRPC servers may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
from harness.placement_process import METHOD
from integration.actors.hosts import call_actor, host, runtime

from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb

_STRICT = (
    ("grpc.keepalive_time_ms", 2000),
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 300_000),
    ("grpc.http2.max_ping_strikes", 2),
)


class StandInPlacement:
    """Serves one sidecar: each report of types is a whole round."""

    def __init__(self) -> None:
        self.streams = 0
        self.port = 0
        self.server = grpc.aio.server(options=_STRICT)

    async def start(self) -> None:
        handler = grpc.stream_stream_rpc_method_handler(
            self._report,
            request_deserializer=pb.Host.FromString,
            response_serializer=pb.PlacementOrder.SerializeToString,
        )
        service, method = METHOD[1:].split("/")
        handlers = grpc.method_handlers_generic_handler(service, {method: handler})
        self.server.add_generic_rpc_handlers((handlers,))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        await self.server.start()

    async def _report(
        self, hosts: AsyncIterator[pb.Host], context: object
    ) -> AsyncIterator[pb.PlacementOrder]:
        self.streams += 1
        version = 0
        async for told in hosts:
            if told.operation != pb.REPORT:
                continue
            version += 1
            for operation in ("lock", "update", "unlock"):
                order = pb.PlacementOrder(operation=operation, version=version)
                order.tables.replication_factor = 100
                for entity in told.entities:
                    order.tables.entries[entity].load_map[told.name].CopyFrom(told)
                yield order
                await anext(hosts)


@pytest.fixture
async def foreign() -> AsyncIterator[StandInPlacement]:
    server = StandInPlacement()
    await server.start()
    yield server
    await server.server.stop(0)


@pytest.mark.slow
async def test_a_placement_that_takes_no_pings_with_stand_in_placement(
    foreign: StandInPlacement,
) -> None:
    """The sidecar comes back without pings of its own, and believes those of the server."""

    def serve() -> None:
        with host(f"127.0.0.1:{foreign.port}", {"entities": ["F"]}, name="foreign") as here:
            here.sidecar.wait_line("Too many pings")
            here.sidecar.wait_lines("connected to placement", 2)
            assert call_actor(here.sidecar, "F/1").status == 200
            lines = len(here.sidecar.lines)
            time.sleep(9.0)  # nothing is to happen for longer than any lease
            assert not [
                line for line in here.sidecar.lines[lines:] if "stream to placement" in line
            ]
            assert call_actor(here.sidecar, "F/1").status == 200
            assert runtime(here.sidecar)["hostReady"] is True

    await asyncio.to_thread(serve)
    assert foreign.streams == 2
