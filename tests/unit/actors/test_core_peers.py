"""What sidecars tell each other of calls, reminders and timers; the app is a stand-in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf import any_pb2, empty_pb2, wrappers_pb2
from harness.block_api import grpc_api, make_context

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.dapr.proto.internals.v1 import reminders_pb2
from dapr_sidecar.api.grpc import internal_actors
from dapr_sidecar.blocks.actors import remote as remote_actors
from dapr_sidecar.blocks.actors.base import ActorAnswer, ActorCall, ActorRef, Callback, Owner
from dapr_sidecar.blocks.actors.block import ActorBlock
from dapr_sidecar.blocks.actors.remote import RemoteActors

ACTOR, THERE = ActorRef("T", "1"), Owner("there", "app1", False)


class StandInRouter:
    """The other sidecar's actors: what comes is recorded, ``cancels`` are cancelled."""

    def __init__(self) -> None:
        self.calls: list[ActorCall] = []
        self.fired: list[Callback] = []
        self.cancels = {"enough"}

    async def invoke_here(self, call: ActorCall) -> ActorAnswer:
        self.calls.append(call)
        return ActorAnswer(200, (), "", b"")

    async def fire_here(self, callback: Callback) -> bool:
        self.fired.append(callback)
        return callback.name in self.cancels


class Peers:
    def __init__(self, channel: GrpcChannel) -> None:
        self._channel = channel

    def channel(self, address: str, namespace: str, app_id: str) -> GrpcChannel:
        return self._channel


def there(router: Any) -> Any:
    return grpc_api(internal_actors.methods(ActorBlock(make_context(), router, lambda: False)))


def remote(channel: GrpcChannel) -> RemoteActors:
    peers: Any = Peers(channel)
    return RemoteActors(make_context(), peers, frozenset)


async def test_that_the_app_cancelled_is_told_back() -> None:
    router = StandInRouter()
    async with there(router) as channel:
        far = remote(channel)
        timer = Callback(ACTOR, "enough", "timer", b'{"a":1}', "1s", "2s", "naïve")
        assert await far.fire(timer, THERE)
        assert not await far.fire(Callback(ACTOR, "more", "reminder"), THERE)
    assert router.fired == [
        timer,  # its callback's name as well, for which the message has no member
        Callback(ACTOR, "more", "reminder"),
    ]


@pytest.mark.parametrize("packed", [True, False])
async def test_data_comes_packed_or_bare(packed: bool) -> None:
    router, data = StandInRouter(), any_pb2.Any(value=b'"x"')
    if packed:
        data.Pack(wrappers_pb2.BytesValue(value=b'"x"'))
    async with there(router) as channel:
        message = reminders_pb2.Reminder(actor_type="T", actor_id="1", name="r", data=data)
        method = "/dapr.proto.internals.v1.ServiceInvocation/CallActorReminder"
        await channel.unary(method, message, empty_pb2.Empty)
        assert router.fired[0].data == b'"x"'
        message.data.value = b"\xff"
        if packed:
            with pytest.raises(RpcError) as refused:
                await channel.unary(method, message, empty_pb2.Empty)
            assert refused.value.code is GrpcCode.INVALID_ARGUMENT


@pytest.mark.parametrize("what", ["method", "timer"])
async def test_a_peer_that_never_answers(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arrived, cancelled = asyncio.Event(), asyncio.Event()

    async def stuck(_: object) -> Any:
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    router: Any = StandInRouter()
    router.invoke_here = router.fire_here = stuck
    async with there(router) as channel:
        far = remote(channel)

        async def ask() -> None:
            if what == "timer":
                await far.fire(Callback(ACTOR, "t", "timer"), THERE)
            else:
                await far.invoke(ActorCall(ACTOR, "m"), THERE)

        for seconds in (0.05, 1.0, 20.0):  # on a busy machine a call may end on its way
            monkeypatch.setattr(remote_actors, "_MOST_SECONDS", seconds)
            with pytest.raises(DaprError, match="context deadline exceeded"):
                await ask()
            if arrived.is_set():
                break
        await asyncio.wait_for(cancelled.wait(), 30)  # the turn there does not go on for nobody


async def test_names_that_would_lead_elsewhere_are_refused() -> None:
    router = StandInRouter()
    async with there(router) as channel:
        for call in (ActorCall(ACTOR, "../../../admin"), ActorCall(ActorRef("T", ".."), "m")):
            with pytest.raises(DaprError, match="relative path component"):
                await remote(channel).invoke(call, THERE)
        await remote(channel).invoke(ActorCall(ACTOR, "a/b"), THERE)
    assert [call.method for call in router.calls] == ["a/b"]


@pytest.mark.parametrize(
    ("ref", "name"), [(ACTOR, "../../evil"), (ACTOR, "a/.."), (ActorRef("T", "a/b"), "r")]
)
async def test_names_that_would_lead_elsewhere_fire_nothing(ref: ActorRef, name: str) -> None:
    router = StandInRouter()
    async with there(router) as channel:
        with pytest.raises(DaprError, match="invalid request: invalid actor"):
            await remote(channel).fire(Callback(ref, name, "reminder"), THERE)
    assert not router.fired
