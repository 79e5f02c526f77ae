"""Timers through the real routes; the router and placement are stand-ins."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from harness.stand_in_actors import AppFailedError

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.dapr.proto.runtime.v1 import actors_pb2 as pb

TIMERS = "/v1.0/actors/T/1/timers"
SERVICE = "/dapr.proto.runtime.v1.Dapr/"


# Timers do not use the store.
pytestmark = pytest.mark.parametrize("stores", ["memory"], indirect=True)


@pytest.fixture
async def side(sides: Any) -> Any:
    return await sides()


async def test_a_timer_ticks_from_the_scheduled_time(side: Any) -> None:
    body = {"dueTime": "0h0m0s50ms", "period": "0h0m0s60ms", "data": {"d": 1}, "callback": "cb"}
    began = time.time()
    assert (await side.http.call("POST", f"{TIMERS}/t", body)).status == 204
    [first, *_] = await side.router.wait(4)
    assert (first.name, first.kind, first.data, first.callback) == ("t", "timer", b'{"d":1}', "cb")
    assert (first.due_time, first.period) == ("0h0m0s50ms", "0h0m0s60ms")
    moments = [moment for moment, _ in side.router.fired[:4]]
    assert all(moment >= began + 0.05 + 0.06 * n - 0.005 for n, moment in enumerate(moments))


async def test_a_tick_never_overlaps_the_one_before(side: Any) -> None:
    release = asyncio.Event()
    side.router.answer = lambda _: _wait(release)
    await side.http.call("POST", f"{TIMERS}/t", {"period": "10ms"})
    await side.router.wait(1)
    await asyncio.sleep(0.05)  # several periods, in which nothing may happen
    assert len(side.router.fired) == 1
    release.set()
    await side.router.wait(4)  # those that were missed come after each other


async def test_without_a_due_time_it_fires_at_once_and_only_once(side: Any) -> None:
    await side.http.call("POST", f"{TIMERS}/t", {"data": "x"})
    [fired] = await side.router.wait(1)
    assert (fired.data, fired.period) == (b'"x"', "")
    assert not side.timers._timers


async def test_null_is_data_too(side: Any) -> None:
    await side.http.call("POST", f"{TIMERS}/t", {"data": None})
    await side.http.call("POST", f"{TIMERS}/u", {})
    fired = await side.router.wait(2)
    assert {one.name: one.data for one in fired} == {"t": b"null", "u": None}


async def test_numbers_of_data_stay_as_they_were_written(side: Any) -> None:
    number = b"123456789012345678901234567890"
    for name, data in ((b"t", b"2.50"), (b"u", b'{"a":[1e3,' + number + b"]}")):
        body = b'{"Data":' + data + b"}"
        assert (await side.http.call("POST", f"{TIMERS}/{name.decode()}", body)).status == 204
    fired = await side.router.wait(2)
    assert {one.name: one.data for one in fired} == {
        "t": b"2.50",
        "u": b'{"a":[1e3,' + number + b"]}",
    }


async def test_repetitions(side: Any) -> None:
    await side.http.call("POST", f"{TIMERS}/t", {"dueTime": "0s", "period": "R2/PT0S"})
    await side.http.call("POST", f"{TIMERS}/u", {"dueTime": "0s", "period": "R2/PT1S"})
    await side.router.wait(3)
    assert sorted(side.router.names) == ["t", "u", "u"]
    assert not side.timers._timers


async def test_a_ttl_ends_it(side: Any) -> None:
    body = {"dueTime": "10ms", "period": "40ms", "ttl": "60ms"}
    await side.http.call("POST", f"{TIMERS}/t", body)
    await side.router.wait(2)
    await asyncio.sleep(0.1)  # a third tick would be here
    assert len(side.router.fired) == 2


async def test_the_same_name_replaces_and_a_deletion_stops(side: Any) -> None:
    await side.http.call("POST", f"{TIMERS}/t", {"dueTime": "1h"})
    await side.http.call("POST", f"{TIMERS}/t", {"dueTime": "10ms", "data": 2, "period": "1h"})
    [fired] = await side.router.wait(1)
    assert fired.data == b"2"
    assert (await side.http.call("DELETE", f"{TIMERS}/t")).status == 204
    assert (await side.http.call("DELETE", f"{TIMERS}/t")).status == 204
    assert not side.timers._timers


async def test_the_app_cancels_it_and_its_failures_do_not(side: Any) -> None:
    def answer(_: Any) -> bool:
        if len(side.router.fired) < 3:
            raise AppFailedError
        return True

    side.router.answer = answer
    await side.http.call("POST", f"{TIMERS}/t", {"period": "10ms"})
    await side.router.wait(3)
    await asyncio.sleep(0.05)
    assert len(side.router.fired) == 3


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            {"dueTime": "xx"},
            "error parsing timer due time: unsupported time/duration format: xx",
        ),
        (
            {"dueTime": "1s", "period": "R2/PT0.2S"},
            "invalid timer period: parse error: unsupported duration format: R2/PT0.2S",
        ),
        ({"period": "R0/PT1S"}, "timer T||1||t has zero repetitions"),
        (
            {"dueTime": "1s", "ttl": "2001-01-01T00:00:00Z"},
            "timer T||1||t has already expired: dueTime: 1s TTL: 2001-01-01T00:00:00Z",
        ),
    ],
)
async def test_timers_that_cannot_be(side: Any, body: dict[str, str], text: str) -> None:
    answer = await side.http.call("POST", f"{TIMERS}/t", body)
    assert answer.error == (
        500,
        "ERR_ACTOR_TIMER_CREATE",
        f"error creating actor timer: {text}",
    )


async def test_other_refusals(side: Any) -> None:
    answer = await side.http.call("POST", "/v1.0/actors/Nope/1/timers/t", {})
    assert answer.error == (
        500,
        "ERR_ACTOR_TIMER_CREATE",
        (
            "error creating actor timer: can't create timer for actor Nope||1: "
            "actor type not registered"
        ),
    )
    for body in (b"[", b"[]", b'{"dueTime":1}'):
        answer = await side.http.call("POST", f"{TIMERS}/t", body)
        assert answer.error[:2] == (400, "ERR_MALFORMED_REQUEST")
    answer = await side.http.call("POST", f"{TIMERS}/a%23b", {})
    assert answer.error[:2] == (400, "ERR_BAD_REQUEST")


async def test_over_grpc_data_becomes_base64(side: Any) -> None:
    async with side.grpc() as channel:
        request = pb.RegisterActorTimerRequest(
            actor_type="T", actor_id="1", name="g", callback="c", data=b'{"z": 1}'
        )
        await channel.unary(SERVICE + "RegisterActorTimer", request)
        [fired] = await side.router.wait(1)
        assert (fired.data, fired.callback) == (b'"eyJ6IjogMX0="', "c")
        gone = pb.UnregisterActorTimerRequest(actor_type="T", actor_id="1", name="g")
        await channel.unary(SERVICE + "UnregisterActorTimer", gone)
        request.name = ""
        with pytest.raises(RpcError, match="invalid name: name is empty") as refused:
            await channel.unary(SERVICE + "RegisterActorTimer", request)
        assert refused.value.code is GrpcCode.INVALID_ARGUMENT


async def _wait(event: asyncio.Event) -> bool:
    await event.wait()
    return False
