"""Actor state over real stores, through the real routes and methods."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import any_pb2

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.dapr.proto.runtime.v1 import actors_pb2 as pb
from dapr_sidecar.blocks.actors.base import ActorRef
from dapr_sidecar.components.state.base import GetRequest

STATE = "/v1.0/actors/T/1/state"
SERVICE = "/dapr.proto.runtime.v1.Dapr/"


def upsert(key: str, value: object, **more: object) -> dict[str, object]:
    return {"operation": "upsert", "request": {"key": key, "value": value, **more}}


def delete(key: str, **more: object) -> dict[str, object]:
    return {"operation": "delete", "request": {"key": key, **more}}


async def test_what_is_written_is_read_under_dapr_s_key(sides: Any, store: Any) -> None:
    side = await sides()
    body = [upsert("k", {"c": "black"}), upsert("n", 3)]
    assert (await side.http.call("POST", STATE, body)).status == 204
    answer = await side.http.call("GET", f"{STATE}/k")
    assert (answer.status, answer.json) == (200, {"c": "black"})
    assert answer.headers["content-type"] == "application/json"
    assert (await store.get(GetRequest("app1||T||1||n"))).data == b"3"
    assert (await side.http.call("PUT", STATE, [delete("k"), upsert("n", 4)])).status == 204
    assert (await side.http.call("GET", f"{STATE}/k")).status == 204
    assert (await side.http.call("GET", f"{STATE}/n")).body == b"4"


async def test_an_integer_keeps_every_digit(sides: Any) -> None:
    side = await sides()
    body = b'[{"operation":"upsert","request":{"key":"k","value":12345678901234567890123}}]'
    assert (await side.http.call("POST", STATE, body)).status == 204
    assert (await side.http.call("GET", f"{STATE}/k")).body == b"12345678901234567890123"


async def test_an_etag_guards_a_key(sides: Any, store: Any) -> None:
    side = await sides()
    await side.http.call("POST", STATE, [upsert("k", 1)])
    etag = (await store.get(GetRequest("app1||T||1||k"))).etag
    assert (await side.http.call("POST", STATE, [upsert("k", 2, etag=etag)])).status == 204
    status, code, _ = (await side.http.call("POST", STATE, [upsert("k", 3, etag=etag)])).error
    assert (status, code) == (500, "ERR_ACTOR_STATE_TRANSACTION_SAVE")
    assert (await side.http.call("GET", f"{STATE}/k")).body == b"2"


async def test_only_an_active_actor_that_lives_here_writes(sides: Any) -> None:
    side = await sides()
    missing = (400, "ERR_ACTOR_INSTANCE_MISSING", "actor instance is missing")
    side.active.missing.add(ActorRef("T", "1"))
    assert (await side.http.call("POST", STATE, [upsert("k", 1)])).error == missing
    assert (await side.http.call("POST", STATE, [])).error == missing
    side.active.missing.clear()
    side.ownership.lost = True  # active here still, but placement may have given it away
    assert (await side.http.call("POST", STATE, [upsert("k", 1)])).error == missing
    side.ownership.lost = False
    assert (await side.http.call("POST", STATE, [upsert("k", 1)])).status == 204
    assert (await side.http.call("POST", STATE, [])).status == 204


async def test_calls_wait_while_the_type_moves_and_find_the_actor_gone(sides: Any) -> None:
    side = await sides()
    await side.ownership.leave()
    side.assignment.rule = lambda _: "b"
    write = asyncio.create_task(side.http.call("POST", STATE, [upsert("k", 1)]))
    read = asyncio.create_task(side.http.call("GET", f"{STATE}/k"))
    done, _ = await asyncio.wait([write, read], timeout=0.05)
    assert not done
    side.ownership.settle()
    assert (await read).status == 204
    assert (await write).error[1] == "ERR_ACTOR_INSTANCE_MISSING"


async def test_a_turn_that_is_drained_may_still_write(sides: Any) -> None:
    side = await sides()
    await side.ownership.leave()
    assert (await side.http.call("POST", STATE, [upsert("k", 1)])).status == 204


async def test_a_type_moves_only_when_its_writes_are_over(sides: Any, store: Any) -> None:
    side = await sides()
    entered, go_on = asyncio.Event(), asyncio.Event()
    transact = store.transact

    async def slow(*arguments: Any) -> None:
        entered.set()
        await go_on.wait()
        await transact(*arguments)

    component = side.context.components.state["st"].component
    component.transact = slow
    write = asyncio.create_task(side.http.call("POST", STATE, [upsert("k", 1)]))
    await entered.wait()
    leaving = asyncio.create_task(side.ownership.leave())
    done, _ = await asyncio.wait([leaving], timeout=0.05)
    assert not done
    go_on.set()
    await leaving
    assert (await write).status == 204


class Stalling:
    """A store that takes writes, and does nothing with them until it is let."""

    def __init__(self, component: Any) -> None:
        self.entered, self.go_on = asyncio.Event(), asyncio.Event()
        self.attempts = 0
        self.failure: Exception | None = None
        self._transact = component.transact
        component.transact = self

    async def __call__(self, *arguments: Any) -> None:
        self.attempts += 1
        self.entered.set()
        await self.go_on.wait()
        if self.failure is not None:
            raise self.failure
        await self._transact(*arguments)


@pytest.mark.parametrize("told", [True, False])
async def test_a_write_that_stalls_is_given_up_when_the_actor_is_another_s(
    sides: Any, store: Any, told: bool
) -> None:
    """Because the stream to placement ended, or because nothing was heard on it (not ``told``)."""
    side = await sides()
    stalling = Stalling(side.context.components.state["st"].component)
    write = asyncio.create_task(side.http.call("POST", STATE, [upsert("k", 1)]))
    await stalling.entered.wait()
    side.ownership.lost = True
    async with asyncio.timeout(10):
        if told:
            await side.ownership.leave()
        status, code, text = (await write).error
    assert (status, code) == (500, "ERR_ACTOR_STATE_TRANSACTION_SAVE")
    assert "left this sidecar before the store answered" in text
    stalling.go_on.set()
    await asyncio.sleep(0)
    assert (await store.get(GetRequest("app1||T||1||k"))).data is None


@pytest.mark.parametrize("stores", ["sqlite"], indirect=True)
async def test_a_write_that_waits_for_a_locked_file_is_not_made_when_it_was_given_up(
    sides: Any, store: Any, tmp_path: Path
) -> None:
    """Its thread waits on, and gets the file later."""
    side = await sides()
    [file] = tmp_path.glob("*.db")
    other = sqlite3.connect(file, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        write = asyncio.create_task(side.http.call("POST", STATE, [upsert("k", 1)]))
        while not side.state._fence._open:
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)  # for the thread to wait for the file
        side.ownership.lost = True
        assert "left this sidecar" in (await write).error[2]
        other.execute("COMMIT")
    finally:
        other.close()
    assert (await store.get(GetRequest("app1||T||1||k"))).data is None
    # The store's thread has come to what is behind that write by now.
    side.ownership.lost = False
    component = side.context.components.state["st"].component
    assert (await component.get(GetRequest("app1||T||1||k"))).data is None
    assert (await side.http.call("POST", STATE, [upsert("n", 1)])).status == 204


async def test_writes_for_actors_that_stay_are_not_given_up(sides: Any) -> None:
    side = await sides()
    stalling = Stalling(side.context.components.state["st"].component)
    stays, goes = (
        asyncio.create_task(side.http.call("POST", f"/v1.0/actors/T/{n}/state", [upsert("k", 1)]))
        for n in (1, 2)
    )
    while stalling.attempts < 2:
        await asyncio.sleep(0)
    side.assignment.rule = lambda ref: "b" if ref.id == "2" else "a"
    async with asyncio.timeout(10):
        assert "left this sidecar" in (await goes).error[2]
    assert not stays.done()
    stalling.go_on.set()
    assert (await stays).status == 204


async def test_no_retry_of_a_policy_writes_for_an_actor_that_left(sides: Any) -> None:
    side = await sides()
    stalling = Stalling(side.context.components.state["st"].component)
    stalling.failure = OSError("try again")
    stalling.go_on.set()

    class Stubborn:
        retries = True

        async def run(self, operation: Any) -> Any:
            try:
                return await operation()
            except OSError:
                side.ownership.lost = True
                return await operation()

    policies: Any = side.context.policies
    policies.component_outbound = lambda name, kind: Stubborn()
    answer = await side.http.call("POST", STATE, [upsert("k", 1)])
    assert "left this sidecar before the store answered" in answer.error[2]
    assert stalling.attempts == 1


async def test_a_ttl_needs_the_feature(sides: Any) -> None:
    side = await sides()
    body = [upsert("k", 1, metadata={"ttlInSeconds": "30"})]
    assert (await side.http.call("POST", STATE, body)).error == (
        500,
        "ERR_ACTOR_STATE_TRANSACTION_SAVE",
        (
            "error saving actor transaction state: "
            'ttlInSeconds is not supported without the "ActorStateTTL" feature enabled'
        ),
    )


async def test_a_ttl_is_kept_and_told(sides: Any, stores: Any) -> None:
    features = {"features": [{"name": "ActorStateTTL", "enabled": True}]}
    side = await sides(configuration=features)
    body = [upsert("k", 1, metadata={"ttlInSeconds": "30"})]
    assert (await side.http.call("POST", STATE, body)).status == 204
    answer = await side.http.call("GET", f"{STATE}/k")
    assert answer.body == b"1"
    # Redis does not tell when a record ends.
    assert ("metadata.ttlexpiretime" in answer.headers) == (stores.kind != "redis")


async def test_requests_that_cannot_be_used(sides: Any) -> None:
    side = await sides()
    cases = [
        (
            [{"operation": "nonsense", "request": {"key": "k"}}],
            "operation type nonsense not supported",
        ),
        ([{"request": {"key": "k"}}], "operation is empty"),
        ([None], "operation is empty"),
        ([{"operation": "upsert"}], "request data is empty"),
        ([{"operation": "upsert", "request": {"value": 1}}], "missing key"),
    ]
    for body, text in cases:
        assert (await side.http.call("POST", STATE, body)).error == (
            500,
            "ERR_ACTOR_STATE_TRANSACTION_SAVE",
            f"error saving actor transaction state: {text}",
        )
    for bad in (b"zzz", b"{}", b"", b"[1]", b'[{"operation":1,"request":{"key":"k"}}]'):
        status, code, text = (await side.http.call("POST", STATE, bad)).error
        assert (status, code) == (400, "ERR_MALFORMED_REQUEST")
        assert text.startswith("failed deserializing HTTP body: ")


async def test_names_that_would_break_keys_and_reserved_types_are_refused(sides: Any) -> None:
    side = await sides()
    answer = await side.http.call("GET", "/v1.0/actors/T/id%2F1/state/k")
    assert answer.error == (
        400,
        "ERR_BAD_REQUEST",
        'invalid request: invalid actorId: name contains forbidden character: "id/1"',
    )
    answer = await side.http.call("GET", "/v1.0/actors/dapr.internal.x/1/state/k")
    assert answer.error[:2] == (403, "ERR_ACTOR_TYPE_RESERVED")


async def test_without_an_actor_state_store(sides: Any) -> None:
    side = await sides()
    side.context.components.state.clear()
    for verb, target in (("GET", f"{STATE}/k"), ("POST", STATE)):
        answer = await side.http.call(verb, target, [upsert("k", 1)])
        assert answer.error[:2] == (500, "ERR_ACTOR_RUNTIME_NOT_FOUND")


async def test_over_grpc(sides: Any) -> None:
    side = await sides()
    async with side.grpc() as channel:
        operation = pb.TransactionalActorStateOperation(
            operationType="upsert", key="k", value=any_pb2.Any(value=b"\x01raw")
        )
        request = pb.ExecuteActorStateTransactionRequest(
            actor_type="T", actor_id="1", operations=[operation]
        )
        await channel.unary(SERVICE + "ExecuteActorStateTransaction", request)
        found = await channel.unary(
            SERVICE + "GetActorState",
            pb.GetActorStateRequest(actor_type="T", actor_id="1", key="k"),
            pb.GetActorStateResponse,
        )
        assert found.message.data == b"\x01raw"
        request.operations[0].operationType = "foo"
        with pytest.raises(RpcError) as refused:
            await channel.unary(SERVICE + "ExecuteActorStateTransaction", request)
        assert refused.value.code is GrpcCode.UNIMPLEMENTED
        assert refused.value.message == "operation type foo not supported"
