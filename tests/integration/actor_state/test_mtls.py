"""Reminders and timers of actors on another sidecar, under mutual TLS with a real sentry."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from google.protobuf import empty_pb2
from google.protobuf.message import Message
from harness.actor_hosts import Host, host, sqlite
from harness.identified import identified, identified_placement
from harness.placement_process import Placement
from harness.sentry import Sentry
from harness.stand_in_scheduler import StandInScheduler
from integration.actors.hosts import until, wait_hosts

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.security.tls import TlsContexts
from dapr_common.wire.dapr.proto.internals.v1 import reminders_pb2
from dapr_common.wire.daprpy.internals.v1 import reminders_pb2 as notices_pb2
from dapr_sidecar.blocks.actors.ring import Ring
from dapr_sidecar.messaging.reminder_notices import CHANGED
from dapr_sidecar.messaging.remote import SERVICE

_ACTORS = [str(number) for number in range(40)]
_BEFORE_A_LOOK_SECONDS = 25.0
"""A sidecar that is told nothing finds a new reminder after 27 s at the earliest."""
Pair = tuple[Host, Host]


@pytest.fixture(scope="module")
def sentry() -> Iterator[Sentry]:
    with Sentry() as running:
        yield running


@pytest.fixture(scope="module")
def secured(sentry: Sentry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Placement]:
    with identified_placement(sentry, tmp_path_factory.mktemp("anchors")) as running:
        yield running


@contextmanager
def two_hosts(sentry: Sentry, placement: Placement, folder: Path, *flags: str) -> Iterator[Pair]:
    """Replicas of one application that are in placement's tables."""
    where = f"--placement-host-address={placement.address}"
    start = partial(host, sqlite(folder), where, *flags, make=partial(identified, sentry))
    with start() as one, start() as two:
        wait_hosts(placement, "T", 2)
        yield one, two


@pytest.fixture
def pair(sentry: Sentry, secured: Placement, tmp_path: Path) -> Iterator[Pair]:
    with two_hosts(sentry, secured, tmp_path) as found:
        yield found


def owned(pair: Pair) -> tuple[list[str], list[str]]:
    """Whose each actor is."""
    one, two = (f"127.0.0.1:{each.sidecar.internal_port}" for each in pair)
    ring = Ring([one, two], 100)
    return (
        [key for key in _ACTORS if ring.owner(key) == one],
        [key for key in _ACTORS if ring.owner(key) == two],
    )


def contexts(
    sentry: Sentry, app_id: str, namespace: str, trust_domain: str = "public"
) -> TlsContexts:
    """TLS of anybody whom this sentry signed."""
    made = TlsContexts()
    made.install(sentry.sign(id=app_id, namespace=namespace, trust_domain=trust_domain).svid)
    return made


def once(actors: list[str], name: str) -> Counter[str]:
    return Counter(f"{actor}/{name}" for actor in actors)


def test_what_is_set_elsewhere_reaches_the_owner(pair: Pair) -> None:
    """Reminders by a notice, which the owner did not wait to find; timers by a call."""
    one, two = pair
    mine, theirs = owned(pair)
    for actor in _ACTORS:
        one.remind(actor, "r", dueTime="1s")
        body = {"dueTime": "200ms", "callback": "c"}
        assert one.call("POST", f"/v1.0/actors/T/{actor}/timers/t", body).status == 204
    until(
        lambda: (
            all(each.fired("timer").keys() for each in pair)
            and sum((each.fired() + each.fired("timer")).total() for each in pair)
            >= 2 * len(_ACTORS)
        ),
        "everything has fired",
        _BEFORE_A_LOOK_SECONDS,
    )
    assert (one.fired(), two.fired()) == (once(mine, "r"), once(theirs, "r"))
    assert (one.fired("timer"), two.fired("timer")) == (once(mine, "t"), once(theirs, "t"))
    assert "could not be told" not in one.sidecar.log


async def test_nobody_of_another_namespace_tells_or_fires(sentry: Sentry, pair: Pair) -> None:
    stranger = await asyncio.to_thread(contexts, sentry, "shop", "elsewhere")
    address = f"127.0.0.1:{pair[1].sidecar.internal_port}"
    told = notices_pb2.RemindersChanged(actor_type="T")
    due = reminders_pb2.Reminder(actor_type="T", actor_id="1", name="r")
    calls: list[tuple[str, Message, type[Message]]] = [
        (CHANGED, told, notices_pb2.RemindersChangedAnswer),
        (f"{SERVICE}CallActorReminder", due, empty_pb2.Empty),
    ]
    for tls, code in (
        (stranger.client, GrpcCode.PERMISSION_DENIED),
        (None, GrpcCode.UNAVAILABLE),
    ):
        channel = GrpcChannel(address, ssl=tls)
        for method, message, answer in calls:
            with pytest.raises(RpcError) as refused:
                await channel.unary(method, message, answer, timeout=10.0)
            assert refused.value.code is code
        await channel.close()
    assert not pair[1].fired()


async def test_reminders_of_a_stand_in_scheduler(
    sentry: Sentry, secured: Placement, tmp_path: Path
) -> None:
    """It sends to any of the hosts, which hand on to the owner what is not theirs."""
    name = "dapr-scheduler", sentry.namespace, sentry.trust_domain
    scheduler = StandInScheduler()
    own = await asyncio.to_thread(contexts, sentry, *name)
    await scheduler.listen("127.0.0.1", 0, own.mutual_server)

    def serve() -> None:
        flag = f"--scheduler-host-address={scheduler.address}"
        with two_hosts(sentry, secured, tmp_path, flag) as pair:
            one, two = pair
            mine, theirs = owned(pair)
            until(lambda: len(scheduler.watchers) > 3, "both wait for reminders, by 3 streams each")
            for actor in _ACTORS:
                one.remind(actor, "r", dueTime="500ms")
            until(
                lambda: (one.fired() + two.fired()).total() >= len(_ACTORS), "everything has fired"
            )
            assert (one.fired(), two.fired()) == (once(mine, "r"), once(theirs, "r"))

    try:
        await asyncio.to_thread(serve)
    finally:
        await scheduler.close()
    assert not scheduler.jobs


async def test_a_stand_in_scheduler_that_is_another_is_not_believed(sentry: Sentry) -> None:
    scheduler = StandInScheduler()
    other = await asyncio.to_thread(contexts, sentry, "dapr-operator", sentry.namespace)
    await scheduler.listen("127.0.0.1", 0, other.mutual_server)
    flag = f"--scheduler-host-address={scheduler.address}"
    try:
        async with identified(sentry, flags=[flag], ready="healthz/outbound") as sidecar:
            line = await asyncio.to_thread(sidecar.wait_line, "instances cannot be read")
            assert "unexpected SPIFFE ID" in line
            assert not scheduler.watchers
    finally:
        await scheduler.close()
