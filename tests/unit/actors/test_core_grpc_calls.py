"""``InvokeActor``: what of a gRPC call reaches the actor; the runtime behind it is a stand-in."""

from __future__ import annotations

from typing import Any

import pytest
from harness.block_api import SERVICE, grpc_api, make_context

from dapr_common.wire.dapr.proto.runtime.v1 import actors_pb2 as pb
from dapr_sidecar.api.grpc import actors
from dapr_sidecar.blocks.actors.base import ActorAnswer, ActorCall
from dapr_sidecar.blocks.actors.block import ActorBlock


class StandInRouter:
    def __init__(self) -> None:
        self.calls: list[ActorCall] = []

    async def invoke(self, call: ActorCall) -> ActorAnswer:
        self.calls.append(call)
        return ActorAnswer(200, (), "", b"")


@pytest.mark.parametrize(
    ("data", "metadata", "expected"),
    [
        (b'{"a": 1}', {}, "application/json"),
        (b"[1,2]\n", {}, "application/json"),
        (b'"text"', {}, "application/json"),
        (b"-1.5e3", {}, "application/json"),
        (b"null", {}, "application/json"),
        (b"", {}, ""),
        (b'"', {}, ""),
        (b"data", {}, ""),
        (b"\x0a\x02{}", {}, ""),
        (b"{}", {"Content-Type": "text/plain"}, "text/plain"),
    ],
)
async def test_json_without_a_content_type_is_told_to_be_json(
    data: bytes, metadata: dict[str, str], expected: str
) -> None:
    router: Any = StandInRouter()
    block = ActorBlock(make_context(), router, lambda: False)
    async with grpc_api(actors.methods(block)) as channel:
        request = pb.InvokeActorRequest(
            actor_type="T", actor_id="1", method="m", data=data, metadata=metadata
        )
        await channel.unary(SERVICE + "InvokeActor", request, pb.InvokeActorResponse)
    [call] = router.calls
    assert (call.body, call.content_type) == (data, expected)
