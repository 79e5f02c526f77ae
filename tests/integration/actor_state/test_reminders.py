"""Reminders in the actor state store; the router and placement are stand-ins."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
import pytest
from harness.component_table import until
from harness.stand_in_actors import AppFailedError

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.dapr.proto.runtime.v1 import actors_pb2 as pb
from dapr_sidecar.blocks.actors import reminder_editor, reminder_owner
from dapr_sidecar.blocks.actors.base import ActorRef, TypeSettings
from dapr_sidecar.blocks.actors.reminder_edits import Put
from dapr_sidecar.blocks.actors.reminder_layout import Layout, partition_of
from dapr_sidecar.blocks.actors.times import format_moment
from dapr_sidecar.components.state.base import GetRequest, SetRequest

REMINDERS = "/v1.0/actors/T/1/reminders"
SERVICE = "/dapr.proto.runtime.v1.Dapr/"
LATE = 6.0
"""Seconds by which a busy machine may be late; nothing may be early."""
NOT_FOUND = (404, "ERR_ACTOR_REMINDER_NOT_FOUND", "actor reminder not found: r")


async def entries(store: Any, key: str = "actors||T") -> list[dict[str, Any]]:
    found = (await store.get(GetRequest(key))).data
    return orjson.loads(found) if found else []


async def put(store: Any, key: str, value: object) -> None:
    raw = value if isinstance(value, bytes) else orjson.dumps(value)
    await store.set(SetRequest(key, raw, concurrency="first-write"))


async def test_a_reminder_is_stored_fired_and_gone(sides: Any, store: Any) -> None:
    side = await sides()
    await side.load()
    seen = asyncio.Event()

    async def wait_until_seen(_: Any) -> bool:
        await seen.wait()  # it is stored until its run has ended
        return False

    side.router.answer = wait_until_seen
    body = {"dueTime": "100ms", "data": {"d": 1}}
    assert (await side.http.call("POST", f"{REMINDERS}/r", body)).status == 204
    [entry] = await entries(store)
    assert {k: entry[k] for k in ("actorID", "actorType", "name", "data", "dueTime")} == {
        "actorID": "1",
        "actorType": "T",
        "name": "r",
        "data": {"d": 1},
        "dueTime": "100ms",
    }
    answer = await side.http.call("GET", f"{REMINDERS}/r")
    assert answer.body == b'{"actorID":"1","actorType":"T","data":{"d":1},"dueTime":"100ms"}'
    seen.set()
    [fired] = await side.router.wait(1)
    assert (fired.ref, fired.name, fired.kind) == (ActorRef("T", "1"), "r", "reminder")
    assert (fired.data, fired.due_time, fired.period) == (b'{"d":1}', "100ms", "")
    async with asyncio.timeout(10):
        while await entries(store):
            await asyncio.sleep(0.01)
    assert (await side.http.call("GET", f"{REMINDERS}/r")).error == NOT_FOUND
    assert side.count == 0


async def test_a_periodic_one_goes_on_and_notes_how_far_it_got(sides: Any, store: Any) -> None:
    side = await sides()
    await side.load()
    began = time.time()
    await side.http.call("POST", f"{REMINDERS}/r", {"dueTime": "0s", "period": "R3/PT1S"})
    await side.router.wait(1)
    await until(lambda: side.count == 1)
    async with asyncio.timeout(10):
        while not (track := (await store.get(GetRequest("T||1||r"))).data):
            await asyncio.sleep(0.01)
    assert orjson.loads(track)["repetitionLeft"] == 2
    await side.router.wait(3)
    async with asyncio.timeout(10):
        while await entries(store):
            await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        while (await store.get(GetRequest("T||1||r"))).data is not None:
            await asyncio.sleep(0.01)
    # However late the first came, the others keep to the schedule that the first began.
    for number, (moment, _) in enumerate(side.router.fired):
        assert -0.01 < moment - began - number < LATE


async def test_a_restart_goes_on_where_it_stopped(sides: Any) -> None:
    first = await sides("a")
    await first.load()
    await first.http.call("POST", f"{REMINDERS}/later", {"dueTime": "1h"})
    await first.http.call("POST", f"{REMINDERS}/r", {"dueTime": "0s", "period": "R2/PT3S"})
    await first.router.wait(1)
    await until(lambda: first.count == 2)
    async with asyncio.timeout(10):
        while (await first.store.get("T||1||r", "T||1||r")).data is None:
            await asyncio.sleep(0.01)
    await first.close()
    second = await sides("a")
    await second.load()
    await second.router.wait(1)
    assert second.router.names == ["r"]
    await until(lambda: second.count == 1)


async def test_what_was_missed_fires_once_at_once_and_then_on_schedule(
    sides: Any, store: Any
) -> None:
    late = 31.0
    due = round(time.time() - late, 3)
    entry = {"actorID": "1", "actorType": "T", "name": "r", "period": "8s"}
    await put(store, "actors||T", [{**entry, "registeredTime": format_moment(due)}])
    side = await sides()
    await side.load()
    await side.router.wait(2)
    first, second = (moment for moment, _ in side.router.fired)
    assert first < due + late + LATE
    # due + 0, 8, 16 and 24 are one; the next is at due + 32, or later on the same schedule.
    assert second >= due + 32
    assert (second - due) % 8 < LATE


async def test_the_failure_policy(sides: Any, store: Any) -> None:
    side = await sides()
    await side.load()

    def fail(_: Any) -> bool:
        raise AppFailedError

    side.router.answer = fail
    policy = {"constant": {"interval": "20ms", "maxRetries": 2}}
    body = {"dueTime": "0s", "failure_policy": policy}
    await side.http.call("POST", f"{REMINDERS}/r", body)
    await side.http.call(
        "POST", f"{REMINDERS}/d", {"dueTime": "0s", "failure_policy": {"drop": {}}}
    )
    async with asyncio.timeout(10):
        while await entries(store):
            await asyncio.sleep(0.01)
    assert Counter(side.router.names) == {"r": 3, "d": 1}


async def test_tries_end_with_the_ttl_whatever_the_policy(sides: Any, store: Any) -> None:
    side = await sides()
    await side.load()

    def fail(_: Any) -> bool:
        raise AppFailedError

    side.router.answer = fail
    body = {"dueTime": "0s", "ttl": "200ms", "failure_policy": {"constant": {"interval": "50ms"}}}
    await side.http.call("POST", f"{REMINDERS}/r", body)
    async with asyncio.timeout(10):
        while await entries(store):
            await asyncio.sleep(0.01)
    assert 1 <= len(side.router.fired) <= 5


async def test_the_default_policy_waits_a_second_between_tries(sides: Any) -> None:
    side = await sides()
    await side.load()

    def fail_once(_: Any) -> bool:
        if len(side.router.fired) == 1:
            raise AppFailedError
        return False

    side.router.answer = fail_once
    await side.http.call("POST", f"{REMINDERS}/r", {"dueTime": "0s"})
    await side.router.wait(2)
    (first, _), (second, _) = side.router.fired
    assert 1.0 - 0.01 < second - first < 1.0 + LATE


@pytest.mark.parametrize("policy", [{}, {"interval": "0s", "maxRetries": 1_000_000}])
async def test_a_policy_without_an_interval_waits_as_well(sides: Any, policy: object) -> None:
    side = await sides()
    await side.load()

    def fail(_: Any) -> bool:
        raise AppFailedError

    side.router.answer = fail
    body = {"dueTime": "0s", "failure_policy": {"constant": policy}}
    await side.http.call("POST", f"{REMINDERS}/r", body)
    await side.router.wait(2)
    (first, _), (second, _) = side.router.fired[:2]
    assert second - first > 1.0 - 0.01


async def test_the_app_cancels_it(sides: Any, store: Any) -> None:
    side = await sides()
    await side.load()
    side.router.answer = lambda _: True
    await side.http.call("POST", f"{REMINDERS}/r", {"dueTime": "0s", "period": "10ms"})
    await side.router.wait(1)
    async with asyncio.timeout(10):
        while await entries(store):
            await asyncio.sleep(0.01)
    assert len(side.router.fired) == 1


async def test_a_ttl_ends_it(sides: Any, store: Any) -> None:
    side = await sides()
    await side.load()
    body = {"dueTime": "0s", "period": "100ms", "ttl": "250ms"}
    await side.http.call("POST", f"{REMINDERS}/r", body)
    async with asyncio.timeout(10):
        while await entries(store):
            await asyncio.sleep(0.01)
    assert 1 <= len(side.router.fired) <= 3


async def test_one_that_registers_itself_again_while_it_runs_stays(sides: Any, store: Any) -> None:
    side = await sides()
    await side.load()

    async def again(_: Any) -> bool:
        if len(side.router.fired) == 1:
            await side.http.call("POST", f"{REMINDERS}/r", {"dueTime": "300ms", "data": 2})
        return False

    side.router.answer = again
    await side.http.call("POST", f"{REMINDERS}/r", {"dueTime": "0s", "data": 1})
    fired = await side.router.wait(2)
    assert [one.data for one in fired] == [b"1", b"2"]


async def test_overwrite(sides: Any) -> None:
    side = await sides()
    await side.load()
    body = {"dueTime": "1h", "data": 1, "overwrite": False}
    assert (await side.http.call("POST", f"{REMINDERS}/r", body)).status == 204
    assert (await side.http.call("POST", f"{REMINDERS}/r", body)).error == (
        409,
        "ERR_ACTOR_REMINDER_ALREADY_EXISTS",
        "actor reminder already exists: r",
    )
    body = {"dueTime": "2h", "data": 2, "ttl": "2100-01-01T00:00:00Z", "period": "P1M"}
    assert (await side.http.call("POST", f"{REMINDERS}/r", body)).status == 204
    assert (await side.http.call("GET", f"{REMINDERS}/r")).json == {
        "actorID": "1",
        "actorType": "T",
        "data": 2,
        "dueTime": "2h",
        "period": "P1M",
        "ttl": "2100-01-01T00:00:00Z",
    }
    assert side.count == 1


async def test_one_that_is_done_with_is_not_in_the_way_of_its_successor(sides: Any) -> None:
    side = await sides()
    await side.load()
    body = {"dueTime": "1h", "overwrite": False}
    await side.http.call("POST", f"{REMINDERS}/r", body)
    held = side.owner.of("T")
    [scheduled] = [found for record in held._scheduled.values() for found in record.values()]
    held.finished(scheduled)  # and before that is stored:
    await held.editor.edit(Put(replace(scheduled.reminder, due_time="2h"), overwrite=False))
    answer = await side.http.call("GET", f"{REMINDERS}/r")
    assert answer.json["dueTime"] == "2h"
    await held.editor.flush(5)
    assert (await side.http.call("GET", f"{REMINDERS}/r")).json["dueTime"] == "2h"


async def test_one_that_is_done_with_goes_when_its_successor_could_not_be_stored(
    sides: Any, store: Any
) -> None:
    side = await sides()
    await side.load()
    await side.http.call("POST", f"{REMINDERS}/r", {"dueTime": "1h"})
    held = side.owner.of("T")
    [scheduled] = [found for record in held._scheduled.values() for found in record.values()]
    component = side.context.components.state["st"].component
    transact = component.transact

    async def broken(*_: Any) -> None:
        raise OSError("the disk is full")

    component.transact = broken
    held.finished(scheduled)
    answer = await side.http.call("POST", f"{REMINDERS}/r", {"dueTime": "2h"})
    assert answer.error[:2] == (500, "ERR_ACTOR_REMINDER_CREATE")
    assert held.editor.is_leaving(scheduled.reminder.key, scheduled.reminder.due)
    component.transact = transact
    await held.editor.flush(10)
    assert await entries(store) == []


async def test_one_that_is_done_with_does_not_take_its_successor_with_it(sides: Any) -> None:
    """They may be due at the same moment, and the successor may come while the other is removed."""
    side = await sides()
    await side.load()
    body = {"dueTime": "2100-01-01T00:00:00Z"}
    await side.http.call("POST", f"{REMINDERS}/r", body)
    held = side.owner.of("T")
    [scheduled] = [found for record in held._scheduled.values() for found in record.values()]
    component = side.context.components.state["st"].component
    transact = component.transact
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any) -> None:
        entered.set()
        await go_on.wait()
        await transact(*arguments)

    component.transact = slow
    again = asyncio.create_task(side.http.call("POST", f"{REMINDERS}/r", {**body, "data": 2}))
    await entered.wait()
    held.finished(scheduled)
    go_on.set()
    assert (await again).status == 204
    await held.editor.flush(10)
    assert (await side.http.call("GET", f"{REMINDERS}/r")).json["data"] == 2


async def test_refusals(sides: Any) -> None:
    side = await sides()
    not_hosted = (
        403,
        "ERR_ACTOR_REMINDER_NON_HOSTED",
        "operations on actor reminders are only possible on hosted actor types",
    )
    for verb in ("POST", "GET", "DELETE"):
        answer = await side.http.call(verb, "/v1.0/actors/Nope/1/reminders/r", {"dueTime": "1s"})
        assert answer.error == not_hosted
        answer = await side.http.call(verb, "/v1.0/actors/dapr.internal.w/1/reminders/r", {})
        assert answer.error[:2] == (403, "ERR_ACTOR_TYPE_RESERVED")
    answer = await side.http.call("POST", f"{REMINDERS}/bad", {"dueTime": "whenever"})
    assert answer.error == (
        500,
        "ERR_ACTOR_REMINDER_CREATE",
        (
            "error creating actor reminder: error parsing reminder due time: "
            "unsupported time/duration format: whenever"
        ),
    )
    for body in (b"[", b"[]", b'{"dueTime":1}', b'{"overwrite":1}', b'{"failure_policy":1}'):
        answer = await side.http.call("POST", f"{REMINDERS}/r", body)
        assert answer.error[:2] == (400, "ERR_MALFORMED_REQUEST")
    assert (await side.http.call("DELETE", f"{REMINDERS}/missing")).status == 204
    side.context.components.state.clear()
    answer = await side.http.call("POST", f"{REMINDERS}/r", {"dueTime": "1s"})
    assert answer.error[:2] == (500, "ERR_ACTOR_RUNTIME_NOT_FOUND")


BAD_PATHS = ("T/id%2F1/{}/n", "T/1/{}/a%23b", "T/../{}/n", "T/1/{}/..", "T%3F/1/{}/n")


@pytest.mark.parametrize("path", BAD_PATHS)
async def test_names_are_checked_whatever_the_verb(sides: Any, path: str) -> None:
    side = await sides(hosted=("T", "T?"))
    for kind, verbs in (("reminders", ("PUT", "GET", "DELETE")), ("timers", ("PUT", "DELETE"))):
        for verb in verbs:
            target = f"/v1.0/actors/{path.format(kind)}"
            answer = await side.http.call(verb, target, {"dueTime": "1h"})
            assert answer.error[:2] == (400, "ERR_BAD_REQUEST"), (verb, target)
            assert answer.error[2].startswith("invalid request: invalid ")


async def test_names_are_checked_where_all_of_an_actor_are_meant(sides: Any) -> None:
    side = await sides()
    for call in (side.reminders.list, side.reminders.delete_all):
        with pytest.raises(DaprError, match="invalid actorId"):
            await call("T", "a/b")


async def test_over_grpc(sides: Any) -> None:
    side = await sides()
    await side.load()
    async with side.grpc() as channel:

        async def call(name: str, request: Any, answer: Any = None) -> Any:
            return (await channel.unary(SERVICE + name, request, answer)).message

        for actor_id, name in (("a", "g"), ("a", "h"), ("b", "g")):
            await call(
                "RegisterActorReminder",
                pb.RegisterActorReminderRequest(
                    actor_type="T",
                    actor_id=actor_id,
                    name=name,
                    due_time="60s",
                    period="10s",
                    data=b'{"z": 1}',
                ),
            )
        request = pb.GetActorReminderRequest(actor_type="T", actor_id="a", name="g")
        found = await call("GetActorReminder", request, pb.GetActorReminderResponse)
        assert (found.actor_type, found.actor_id) == ("T", "a")
        assert (found.due_time, found.period, found.HasField("ttl")) == ("60s", "10s", False)
        assert found.data.type_url.endswith("google.protobuf.BytesValue")
        assert b'"eyJ6IjogMX0="' in found.data.value
        listed = await call(
            "ListActorReminders",
            pb.ListActorRemindersRequest(actor_type="T", actor_id="a"),
            pb.ListActorRemindersResponse,
        )
        assert sorted(one.name for one in listed.reminders) == ["g", "h"]
        await call(
            "UnregisterActorReminder",
            pb.UnregisterActorReminderRequest(actor_type="T", actor_id="a", name="g"),
        )
        with pytest.raises(RpcError) as missing:
            await call("GetActorReminder", request, pb.GetActorReminderResponse)
        assert missing.value.code is GrpcCode.NOT_FOUND
        assert missing.value.message == "actor reminder not found: g"
        everything = pb.UnregisterActorRemindersByTypeRequest(actor_type="T")
        await call("UnregisterActorRemindersByType", everything)
        assert side.count == 0


async def test_what_has_no_name_is_refused(sides: Any) -> None:
    side = await sides()
    async with side.grpc() as channel:
        for actor_id, name, what in (("a", "", "name"), ("", "r", "actorId")):
            request = pb.RegisterActorReminderRequest(
                actor_type="T", actor_id=actor_id, name=name, due_time="1h"
            )
            with pytest.raises(RpcError, match=f"invalid {what}: name is empty") as refused:
                await channel.unary(SERVICE + "RegisterActorReminder", request)
            assert refused.value.code is GrpcCode.INVALID_ARGUMENT


async def test_a_stored_one_without_a_name_does_not_hide_the_others(sides: Any, store: Any) -> None:
    entry = old_entry("r")
    nameless = {member: value for member, value in entry.items() if member != "name"}
    await put(store, "actors||T", [nameless, entry])
    side = await sides()
    assert sorted(one.name for one in await side.reminders.list("T", None)) == ["", "r"]
    await side.reminders.delete(ActorRef("T", nameless["actorID"]), "")
    assert [one.name for one in await side.reminders.list("T", None)] == ["r"]


async def test_a_number_keeps_every_digit(sides: Any) -> None:
    side = await sides()
    data = b"123456789012345678901234567890"
    body = b'{"dueTime":"1h","data":' + data + b"}"
    assert (await side.http.call("POST", f"{REMINDERS}/r", body)).status == 204
    assert b'"data":' + data in (await side.http.call("GET", f"{REMINDERS}/r")).body


# --- many at once ---------------------------------------------------------------------------


async def test_a_thousand_concurrent_creates_and_deletes_are_few_writes(
    sides: Any, store: Any
) -> None:
    side = await sides()
    await side.load()
    writes = 0
    component = side.context.components.state["st"].component
    transact = component.transact

    async def counted(*arguments: Any) -> None:
        nonlocal writes
        writes += 1
        await transact(*arguments)

    component.transact = counted
    calls = [
        side.http.call("POST", f"/v1.0/actors/T/{n % 50}/reminders/r{n}", {"dueTime": "1h"})
        for n in range(1000)
    ]
    assert {answer.status for answer in await asyncio.gather(*calls)} == {204}
    assert len(await side.reminders.list("T", None)) == side.count == 1000
    assert writes < 30
    gone = [side.http.call("DELETE", f"/v1.0/actors/T/{n % 50}/reminders/r{n}") for n in range(500)]
    assert {answer.status for answer in await asyncio.gather(*gone)} == {204}
    assert len(await side.reminders.list("T", None)) == side.count == 500
    # One record would have had all of them: too many to write anew at each change.
    metadata = orjson.loads((await store.get(GetRequest("actors||T||metadata"))).data)
    assert metadata["actorRemindersMetadata"]["partitionCount"] >= 16
    assert await entries(store) == []


async def test_one_sidecar_spreads_and_the_other_goes_on(sides: Any) -> None:
    owner, other = await sides("a"), await sides("b")
    await asyncio.gather(owner.load(), other.load())
    await owner.http.call("POST", f"{REMINDERS}/mine", {"dueTime": "1h"})
    calls = [
        other.http.call("POST", f"/v1.0/actors/T/{n}/reminders/r", {"dueTime": "1h"})
        for n in range(300)
    ]
    await asyncio.gather(*calls)
    await until(lambda: owner.count == 301)
    answer = await owner.http.call("POST", f"{REMINDERS}/now", {"dueTime": "0s"})
    assert answer.status == 204
    await owner.router.wait(1)
    assert owner.router.names == ["now"]
    assert (await owner.http.call("GET", f"{REMINDERS}/mine")).status == 200
    await until(lambda: owner.count == 301)


async def test_writers_of_two_sidecars_lose_nothing(sides: Any) -> None:
    one, two = await sides("a"), await sides("b")
    await asyncio.gather(one.load(), two.load())
    calls = [
        side.http.call(
            "POST", f"/v1.0/actors/T/{n}/reminders/{side.ownership.name}", {"dueTime": "1h"}
        )
        for n in range(100)
        for side in (one, two)
    ]
    assert {answer.status for answer in await asyncio.gather(*calls)} == {204}
    assert len(await one.reminders.list("T", None)) == 200
    await until(lambda: one.count == 200)
    assert two.count == 0


async def test_a_store_that_fails_is_told_to_the_caller(sides: Any) -> None:
    side = await sides()
    await side.load()

    async def broken(*_: Any) -> None:
        raise OSError("the disk is full")

    side.context.components.state["st"].component.transact = broken
    answer = await side.http.call("POST", f"{REMINDERS}/r", {"dueTime": "1s"})
    assert answer.error == (
        500,
        "ERR_ACTOR_REMINDER_CREATE",
        "error creating actor reminder: the disk is full",
    )


async def test_a_store_that_hangs_is_told_to_the_caller_in_time(
    sides: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reminder_editor, "_DEADLINE_SECONDS", 0.2)
    side = await sides()
    await side.load()
    hangs = True
    component = side.context.components.state["st"].component
    transact = component.transact

    async def slow(*arguments: Any) -> None:
        while hangs:
            await asyncio.sleep(0.01)
        await transact(*arguments)

    component.transact = slow
    answer = await side.http.call("POST", f"{REMINDERS}/r", {"dueTime": "1h"})
    assert answer.error[:2] == (500, "ERR_ACTOR_REMINDER_CREATE")
    assert "not stored within 0.2 s" in answer.error[2]
    monkeypatch.undo()
    hangs = False
    answer = await side.http.call("POST", f"{REMINDERS}/s", {"dueTime": "1h"})
    assert answer.status == 204


async def test_a_change_under_way_when_the_sidecar_stops_is_answered(sides: Any) -> None:
    side = await sides()
    await side.load()
    entered = asyncio.Event()

    async def hangs(*_: Any) -> None:
        entered.set()
        await asyncio.Event().wait()

    side.context.components.state["st"].component.transact = hangs
    created = asyncio.create_task(side.http.call("POST", f"{REMINDERS}/r", {"dueTime": "1h"}))
    await entered.wait()
    waiting = asyncio.create_task(side.http.call("POST", f"{REMINDERS}/s", {"dueTime": "1h"}))
    while not side.owner.of("T").editor._asked:
        await asyncio.sleep(0)
    await side.close()
    async with asyncio.timeout(5):
        for answer in (await created, await waiting):
            assert answer.error[:2] == (500, "ERR_ACTOR_REMINDER_CREATE")
            assert "the sidecar stops" in answer.error[2]


# --- moving ---------------------------------------------------------------------------------


async def test_the_owner_is_told_and_fires(sides: Any) -> None:
    owner, other = await sides("a"), await sides("b")
    await asyncio.gather(owner.load(), other.load())
    await other.http.call("POST", f"{REMINDERS}/r", {"dueTime": "50ms", "period": "1h"})
    [fired] = await owner.router.wait(1)
    assert fired.name == "r"
    assert other.notices.sent == [("a", "T", [("1", "r")])]
    await other.http.call("DELETE", f"{REMINDERS}/r")
    await until(lambda: owner.count == 0)
    assert not other.router.fired


async def test_a_lost_notice_only_delays(sides: Any) -> None:
    owner, other = await sides("a", look_seconds=0.2), await sides("b")
    await asyncio.gather(owner.load(), other.load())
    other.notices.lost = True
    await other.http.call("POST", f"{REMINDERS}/r", {"dueTime": "50ms", "period": "1h"})
    await owner.router.wait(1)
    await other.http.call("DELETE", f"{REMINDERS}/r")
    await until(lambda: owner.count == 0)


async def test_a_move_fires_nothing_twice_and_nothing_is_missed(sides: Any) -> None:
    one, two = await sides("a"), await sides("b")
    one.assignment.rule = lambda ref: "a" if int(ref.id) % 2 else "b"
    await asyncio.gather(one.load(), two.load())
    for n in range(200):
        due = f"{20 + n * 4}ms"
        await one.http.call("POST", f"/v1.0/actors/T/{n}/reminders/r{n}", {"dueTime": due})
    for turn in range(4):
        await asyncio.sleep(0.1)
        await asyncio.gather(one.ownership.leave(), two.ownership.leave())
        one.assignment.rule = lambda ref, t=turn: "ab"[(int(ref.id) + t) % 2]
        await asyncio.gather(one.load(), two.load())
    await until(lambda: len(one.router.fired) + len(two.router.fired) >= 200)
    await asyncio.sleep(0.2)  # one that fires twice would do it by now
    assert Counter(one.router.names + two.router.names) == {f"r{n}": 1 for n in range(200)}


async def test_what_is_read_while_everything_is_let_go_hides_nothing(sides: Any) -> None:
    side, other = await sides("a"), await sides("b")
    await side.load()
    await other.load()
    for name in ("one", "two"):
        await side.http.call("POST", f"{REMINDERS}/{name}", {"dueTime": "1h", "period": "1h"})
    reading, go_on, bulk_get = asyncio.Event(), asyncio.Event(), side.store.bulk_get

    async def slow(requests: Any) -> Any:
        if requests[0].key == "T||1||three":  # how far that one got
            reading.set()
            await go_on.wait()
        return await bulk_get(requests)

    side.store.bulk_get = slow
    await other.http.call("POST", f"{REMINDERS}/three", {"dueTime": "1h", "period": "1h"})
    await reading.wait()
    await side.ownership.leave()
    side.ownership.settle()
    go_on.set()
    await side.loaded()
    assert side.count == 3


async def test_a_load_that_everything_is_let_go_in_reads_again(sides: Any) -> None:
    side = await sides()
    await side.load()
    for name in ("one", "two"):
        await side.http.call("POST", f"{REMINDERS}/{name}", {"dueTime": "1h", "period": "1h"})
    await side.ownership.leave()
    reading, go_on, bulk_get = asyncio.Event(), asyncio.Event(), side.store.bulk_get

    async def slow(requests: Any) -> Any:
        reading.set()
        await go_on.wait()
        return await bulk_get(requests)

    side.store.bulk_get = slow
    side.ownership.settle()
    await reading.wait()
    side.owner.of("T").clear()  # by a withdrawal that takes longer than the round after it
    go_on.set()
    await side.loaded()
    assert side.count == 2


async def test_a_run_under_way_is_noted_before_its_type_moves(sides: Any) -> None:
    one, two = await sides("a"), await sides("b")
    await asyncio.gather(one.load(), two.load())
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Any) -> bool:
        entered.set()
        await go_on.wait()
        return False

    one.router.answer = slow
    await one.http.call("POST", f"{REMINDERS}/once", {"dueTime": "0s"})
    await entered.wait()
    leaving = asyncio.create_task(one.ownership.leave())
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(leaving, two.ownership.leave())
    one.assignment.rule = lambda _: "b"
    await asyncio.gather(one.load(), two.load())
    assert two.count == 0
    assert one.router.names == ["once"]


async def test_a_move_does_not_wait_for_changes_that_never_end(
    sides: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = await sides()
    await side.load()
    await side.http.call("POST", f"{REMINDERS}/once", {"dueTime": "0s"})
    await side.router.wait(1)

    async def set_for_ever(actor: int) -> None:
        while True:
            await side.http.call("POST", f"/v1.0/actors/T/{actor}/reminders/r", {"dueTime": "1h"})

    busy = [asyncio.create_task(set_for_ever(actor)) for actor in range(20)]
    await until(lambda: side.count >= 20)
    monkeypatch.setattr(reminder_owner, "_FLUSH_SECONDS", 50.0)  # so long as there are changes
    async with asyncio.timeout(25):
        await side.ownership.leave()
    assert "once" not in {one.name for one in await side.reminders.list("T", None)}
    for task in busy:
        task.cancel()
    await asyncio.wait(busy)


async def test_a_run_that_does_not_end_is_cancelled_and_repeated_by_the_new_owner(
    sides: Any,
) -> None:
    settings = TypeSettings(drain_timeout=0.05)
    one, two = await sides("a", settings=settings), await sides("b")
    await asyncio.gather(one.load(), two.load())
    entered = asyncio.Event()

    async def stuck(_: Any) -> bool:
        entered.set()
        await asyncio.Event().wait()
        return False

    one.router.answer = stuck
    await one.http.call("POST", f"{REMINDERS}/once", {"dueTime": "0s"})
    await entered.wait()
    await asyncio.gather(one.ownership.leave(), two.ownership.leave())
    one.assignment.rule = lambda _: "b"
    await asyncio.gather(one.load(), two.load())
    await two.router.wait(1)


async def test_whoever_lost_placement_fires_nothing(sides: Any) -> None:
    side = await sides()
    await side.load()
    component = side.context.components.state["st"].component
    transact = component.transact

    async def lose_meanwhile(*arguments: Any) -> None:
        await transact(*arguments)
        side.ownership.lost = True

    component.transact = lose_meanwhile
    await side.http.call("POST", f"{REMINDERS}/r", {"dueTime": "100ms"})
    component.transact = transact
    await asyncio.sleep(0.3)  # it is due, and nobody may fire it here
    assert not side.router.fired
    side.ownership.lost = False
    await side.router.wait(1)


async def test_a_crash_repeats_at_most_what_was_not_noted(sides: Any) -> None:
    one, two = await sides("a"), await sides("b")
    await one.load()
    await one.http.call("POST", f"{REMINDERS}/r", {"dueTime": "0s", "period": "1h"})
    await one.router.wait(1)
    async with asyncio.timeout(10):
        while (await one.store.get("T||1||r", "T||1||r")).data is None:
            await asyncio.sleep(0.01)
    two.notices.lost = True  # it knows of no other reminder when it ends
    await two.http.call("POST", f"{REMINDERS}/next", {"dueTime": "0s"})
    await one.crash()
    two.assignment.rule = lambda _: "b"
    await two.load()
    await two.router.wait(1)
    assert two.router.names == ["next"]


# --- stores of Dapr up to 1.14 --------------------------------------------------------------


def old_entry(name: str, seconds: float = 0.2, **more: object) -> dict[str, object]:
    due = format_moment(round(time.time() + seconds, 6))
    return {"actorID": "1", "actorType": "T", "name": name, "registeredTime": due, **more}


async def test_a_store_without_partitions_is_taken_over(sides: Any, store: Any) -> None:
    await put(
        store, "actors||T", [old_entry("r1", 3.0), old_entry("r2", 3.0, dueTime="1s", data="x")]
    )
    side = await sides()
    await side.load()
    assert side.count == 2
    await side.router.wait(2)
    assert sorted(side.router.names) == ["r1", "r2"]
    async with asyncio.timeout(10):
        while await entries(store):
            await asyncio.sleep(0.01)


async def test_a_store_with_partitions_is_taken_over(sides: Any, store: Any) -> None:
    layout = Layout("T", "f47ac10b-58cc-4372-a567-0e02b2c3d479", 3)
    await put(
        store,
        "actors||T||metadata",
        {"id": layout.id, "actorRemindersMetadata": {"partitionCount": 3}},
    )
    by_number: dict[int, list[object]] = {1: [], 2: [], 3: []}
    for n in range(20):
        by_number[partition_of("1", f"r{n}", 3)].append(old_entry(f"r{n}", 5.0))
    for number, found in by_number.items():
        await put(store, f"actors||T||{layout.id}||reminders||{number}", found)
    side = await sides()
    await side.load()
    assert side.count == 20
    await side.http.call("DELETE", f"{REMINDERS}/r7")
    await side.router.wait(19)
    assert sorted(side.router.names) == sorted(f"r{n}" for n in range(20) if n != 7)


async def test_a_track_of_dapr_is_honoured(sides: Any, store: Any) -> None:
    now = time.time()
    entry = {**old_entry("r", period="R5/PT1S"), "registeredTime": format_moment(now - 3)}
    await put(store, "actors||T", [entry])
    track = {"lastFiredTime": format_moment(now - 0.5), "repetitionLeft": 1}
    await put(store, "T||1||r", track)
    side = await sides()
    await side.load()
    await side.router.wait(1)
    assert now + 0.5 - 0.01 < side.router.fired[0][0] < now + 0.5 + LATE
    async with asyncio.timeout(10):
        while await entries(store):
            await asyncio.sleep(0.01)
    assert len(side.router.fired) == 1


async def test_more_partitions_than_before(sides: Any, store: Any) -> None:
    old = await sides("a")
    await old.load()
    for n in range(30):
        await old.http.call("POST", f"{REMINDERS}/r{n}", {"dueTime": "1h"})
    await old.close()
    new = await sides("a", settings=TypeSettings(reminder_partitions=4))
    await new.load()
    assert new.count == 30
    found = (await store.get(GetRequest("actors||T||metadata"))).data
    metadata = orjson.loads(found)
    assert metadata["actorRemindersMetadata"] == {"partitionCount": 4}
    sizes = []
    for number in range(1, 5):
        part = await entries(store, f"actors||T||{metadata['id']}||reminders||{number}")
        assert {partition_of(e["actorID"], e["name"], 4) for e in part} <= {number}
        sizes.append(len(part))
    assert sum(sizes) == 30
    assert await entries(store) == []
    await new.http.call("DELETE", f"{REMINDERS}/r3")
    assert (await new.http.call("GET", f"{REMINDERS}/r4")).status == 200
    assert new.count == 29


async def test_fewer_partitions_are_refused(
    sides: Any, store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    old = await sides("a", settings=TypeSettings(reminder_partitions=4))
    await old.load()
    await old.http.call("POST", f"{REMINDERS}/r", {"dueTime": "1h"})
    await old.close()
    new = await sides("a", settings=TypeSettings(reminder_partitions=2))
    await new.load()
    assert new.count == 1
    assert "fewer (remindersStoragePartitions is 2) are not possible" in caplog.text


async def test_everybody_spreads_at_once_and_writes_meanwhile(sides: Any, store: Any) -> None:
    old = await sides("a")
    await old.load()
    for n in range(20):
        await old.http.call("POST", f"{REMINDERS}/r{n}", {"dueTime": "1h"})
    spread = TypeSettings(reminder_partitions=5)
    one, two = await sides("b", settings=spread), await sides("c", settings=spread)

    async def write() -> None:
        for n in range(20, 60):
            answer = await old.http.call("POST", f"{REMINDERS}/r{n}", {"dueTime": "1h"})
            assert answer.status == 204

    await asyncio.gather(write(), one.load(), two.load())
    metadata = orjson.loads((await store.get(GetRequest("actors||T||metadata"))).data)
    found = [
        entry["name"]
        for number in range(1, 6)
        for entry in await entries(store, f"actors||T||{metadata['id']}||reminders||{number}")
    ]
    assert sorted(found) == sorted(f"r{n}" for n in range(60))


async def test_a_record_that_cannot_be_read_is_reported_and_tried_again(
    sides: Any, store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await put(store, "actors||T", b"{broken")
    side = await sides()
    side.ownership.settle()
    await until(lambda: "reminders of T cannot be read" in caplog.text)
    assert "the record actors||T cannot be read" in caplog.text
    etag = (await store.get(GetRequest("actors||T"))).etag
    await store.set(SetRequest("actors||T", orjson.dumps([old_entry("r")]), etag))
    await side.router.wait(1)
