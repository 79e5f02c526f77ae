"""Rounds as sidecars of another make see them: holding back, starting over, dropping, ending."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from harness.placement_process import METHOD, Placement, PlacementClient, tables
from harness.programs import free_port
from harness.proxy import Proxy

from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb

OPERATIONS = ("lock", "update", "unlock")


@pytest.fixture(scope="module")
def placement() -> Iterator[Placement]:
    with Placement("--disseminate-timeout=5s") as running:
        yield running


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


async def obey(version: int, *clients: PlacementClient) -> dict[str, list[str]]:
    """A whole round of these sidecars; all get the same tables."""
    for operation in OPERATIONS[:2]:
        orders = await asyncio.gather(*(one.obey(f"{operation} {version}") for one in clients))
    await asyncio.gather(*(one.obey(f"unlock {version}") for one in clients))
    assert all(order == orders[0] for order in orders)
    return tables(orders[0])


async def test_newcomers_are_held_back_and_share_the_next_round(
    placement: Placement, namespace: str
) -> None:
    def client(app_id: str) -> PlacementClient:
        return PlacementClient(placement.address, app_id, namespace=namespace)

    async with client("a") as a, client("b") as b, client("c") as c, client("d") as d:
        await a.report("A")
        await a.expect("lock", 1)
        await b.report("A")
        await c.report("B")
        await d.report()
        assert await d.is_quiet()
        await a.send(operation=pb.LOCK, version=1)
        assert tables(await a.obey("update 1")) == {"A": ["a"]}
        await a.obey("unlock 1")
        assert await obey(2, a, b, c, d) == {"A": ["a", "b"], "B": ["c"]}


async def test_newcomers_without_actors_are_answered_at_once_after_the_round(
    placement: Placement, namespace: str
) -> None:
    def client(app_id: str) -> PlacementClient:
        return PlacementClient(placement.address, app_id, namespace=namespace)

    async with client("a") as a, client("b") as b:
        await a.report("A")
        await a.expect("lock", 1)
        await b.report()
        await a.send(operation=pb.LOCK, version=1)
        await a.obey("update 1", "unlock 1")
        for operation in OPERATIONS:  # not waited for
            order = await b.expect(operation, 1)
            assert tables(order) == ({"A": ["a"]} if operation == "update" else {})
        assert await a.is_quiet()


async def test_a_change_in_the_middle_of_a_round_begins_another(
    placement: Placement, namespace: str
) -> None:
    def client(app_id: str) -> PlacementClient:
        return PlacementClient(placement.address, app_id, namespace=namespace)

    async with client("a") as a, client("b") as b:
        await a.report("A")
        await obey(1, a)
        await b.report("B")
        await asyncio.gather(a.obey("lock 2"), b.obey("lock 2"))
        await asyncio.gather(a.expect("update", 2), b.expect("update", 2))
        await b.report("C")
        await asyncio.gather(a.expect("lock", 3), b.expect("lock", 3))
        for one in (a, b):  # answers to what is over
            await one.send(operation=pb.UPDATE, version=2)
            await one.send(operation=pb.UPDATE, version=3)
        assert await a.is_quiet()
        for one in (a, b):
            await one.send(operation=pb.LOCK, version=3)
        orders = await asyncio.gather(a.obey("update 3"), b.obey("update 3"))
        assert tables(orders[0]) == {"A": ["a"], "C": ["b"]}
        await asyncio.gather(a.obey("unlock 3"), b.obey("unlock 3"))


async def test_whoever_leaves_does_not_hold_the_round_up(
    placement: Placement, namespace: str
) -> None:
    def client(app_id: str) -> PlacementClient:
        return PlacementClient(placement.address, app_id, namespace=namespace)

    async with client("a") as a, client("b") as b:
        await a.report("A")
        await obey(1, a)
        await b.report("B")
        await b.expect("lock", 2)
        await a.obey("lock 2")
        await b.close()
        assert tables(await a.obey("update 2")) == {"A": ["a"], "B": ["b"]}
        await a.obey("unlock 2")
        assert await obey(3, a) == {"A": ["a"]}


async def test_sidecars_of_before(placement: Placement, namespace: str) -> None:
    """They send the same message every second, without operation and version."""
    async with PlacementClient(placement.address, "old", namespace=namespace) as old:
        beat: dict[str, Any] = {"name": old.name, "entities": ["A"], "port": 50002}
        for operation in OPERATIONS:
            await old.send(**beat)
            order = await old.expect(operation, 1)
        for _ in range(3):
            await old.send(**beat)
        assert await old.is_quiet()
        await old.send(**{**beat, "entities": ["A", "B"]})
        for operation in OPERATIONS:
            order = await old.expect(operation, 2)
            if operation == "update":
                assert tables(order) == {"A": ["old"], "B": ["old"]}
            await old.send(**{**beat, "entities": ["A", "B"]})
        async with PlacementClient(placement.address, "pure", namespace=namespace) as pure:
            for operation in OPERATIONS:
                await pure.send(name="n:1")
                await pure.expect(operation, 2)
            await pure.send(name="n:1")
            assert await pure.is_quiet()


async def test_namespaces_know_nothing_of_each_other(placement: Placement, namespace: str) -> None:
    async with (
        PlacementClient(placement.address, "a", namespace=f"{namespace}-1") as a,
        PlacementClient(placement.address, "b", namespace=f"{namespace}-2") as b,
    ):
        await a.report("A")
        assert await obey(1, a) == {"A": ["a"]}
        await b.report("A")
        assert await obey(1, b) == {"A": ["b"]}
        assert await a.is_quiet()
        await a.send(namespace=f"{namespace}-2", operation=pb.REPORT)
        assert (await a.status())[0] is grpc.StatusCode.INVALID_ARGUMENT
    # Everybody has left: it begins from the start.
    async with PlacementClient(placement.address, "a", namespace=f"{namespace}-1") as a:
        await a.report()
        await a.expect("lock", 0)


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ({"id": ""}, "INVALID_ARGUMENT", "host ID and namespace must be provided"),
        ({"namespace": ""}, "INVALID_ARGUMENT", "host ID and namespace must be provided"),
        ({"version": 1}, "INVALID_ARGUMENT", "must have an operation"),
        (
            {"entities": ["dapr.internal.x.y.workflow"]},
            "PERMISSION_DENIED",
            "entity dapr.internal.x.y.workflow is not allowed for app ID app in namespace default",
        ),
        (
            {"entities": [f"type-{number}" for number in range(2000)]},
            "RESOURCE_EXHAUSTED",
            "2000 actor types",
        ),
    ],
)
async def test_refusals(placement: Placement, message: Any, code: str, text: str) -> None:
    async with PlacementClient(placement.address, "app") as client:
        await client.send(**message)
        found, details = await client.status()
        assert (found.name, text in details) == (code, True), details


async def test_the_end_of_a_stream_by_its_sidecar(placement: Placement, namespace: str) -> None:
    async with PlacementClient(placement.address, "a", namespace=namespace) as client:
        await client.report("A")
        await client.expect("lock", 1)
        await client.stream.done_writing()
        assert await client.status() == (grpc.StatusCode.UNKNOWN, "EOF")
    async with PlacementClient(placement.address, "a", namespace=namespace) as client:
        await client.stream.done_writing()
        assert await client.status() == (grpc.StatusCode.UNKNOWN, "EOF")


async def test_the_state_page_and_metrics(placement: Placement, namespace: str) -> None:
    def shown() -> Any:
        return placement.state().get("tables", {}).get(namespace)

    async with (
        PlacementClient(placement.address, "b", name="10.0.0.2:1", namespace=namespace) as b,
        PlacementClient(placement.address, "a", name="10.0.0.1:1", namespace=namespace) as a,
        PlacementClient(placement.address, "c", namespace=namespace) as c,
    ):
        await b.report("T2", "T1")
        await obey(1, b)
        await a.report("T1")
        await obey(2, a, b)
        await c.report()
        await c.expect("lock", 2)
        host = {"api_level": 20, "namespace": namespace, "operation": 1}
        assert await asyncio.to_thread(shown) == {
            "hosts": [
                {"name": "10.0.0.1:1", "entities": ["T1"], "id": "a", **host},
                {"name": "10.0.0.2:1", "entities": ["T1", "T2"], "id": "b", **host},
            ],
            "version": 2,
        }
        metrics = await asyncio.to_thread(placement.metrics)
        label = f'{{host_namespace="{namespace}"}}'
        assert metrics[f"dapr_placement_runtimes_total{label}"] == 3
        assert metrics[f"dapr_placement_actor_runtimes_total{label}"] == 2
        assert metrics["dapr_placement_leader_status"] == 1
        assert metrics["process_resident_memory_bytes"] > 0
    async with asyncio.timeout(10):
        while await asyncio.to_thread(shown) is not None:
            await asyncio.sleep(0.05)
    metrics = await asyncio.to_thread(placement.metrics)
    assert metrics[f"dapr_placement_runtimes_total{label}"] == 0
    assert metrics[f"dapr_placement_actor_runtimes_total{label}"] == 0


async def test_the_state_page_is_off_by_default() -> None:
    async with Placement("--metadata-enabled=false") as server:
        assert (await asyncio.to_thread(server.get, "/placement/state")).status == 404
    async with Placement() as server:
        assert await asyncio.to_thread(server.state) == {}


async def test_a_window_collects_changes() -> None:
    async with Placement("--disseminate-coalesce-window=3s") as placement:
        address = placement.address
        async with (
            PlacementClient(address, "a") as a,
            PlacementClient(address, "b") as b,
            PlacementClient(address, "c") as c,
        ):
            await a.report("A")
            await obey(1, a)
            began = time.monotonic()
            await b.report("B")
            await a.report("A", "A2")
            await c.report()
            assert await obey(2, a, b, c) == {"A": ["a"], "A2": ["a"], "B": ["b"]}
            assert time.monotonic() - began > 2.9


@pytest.mark.slow
async def test_a_sidecar_that_does_not_read_is_dropped(
    placement: Placement, namespace: str
) -> None:
    """Its connection answers nothing, not even pings: as of a machine that is gone."""
    proxy = Proxy(placement.port)
    await proxy.start()
    async with (
        AsyncExitStack() as stack,
        PlacementClient(placement.address, "well", namespace=namespace) as well,
    ):
        stack.push_async_callback(proxy.close)
        await well.report("A")
        await obey(1, well)
        stuck = PlacementClient(proxy.address, "stuck", namespace=namespace)
        stack.push_async_callback(stuck.close)
        await stuck.report("A")
        assert await obey(2, well, stuck) == {"A": ["stuck", "well"]}
        proxy.hold()
        began = time.monotonic()
        assert await obey(3, well) == {"A": ["well"]}  # found by pings, 2 s and 3 s
        assert time.monotonic() - began < 20


async def test_silence_that_answers_pings_is_dropped_after_the_timeout(
    placement: Placement, namespace: str
) -> None:
    async with (
        PlacementClient(placement.address, "well", namespace=namespace) as well,
        PlacementClient(placement.address, "silent", namespace=namespace) as silent,
    ):
        await well.report("A")
        await obey(1, well)
        await silent.report("A")
        await well.obey("lock 2")
        began = time.monotonic()
        assert await obey(3, well) == {"A": ["well"]}
        assert 4 < time.monotonic() - began < 15
        assert await silent.status() == (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "dissemination timeout after 5s for version 2",
        )


@pytest.mark.slow
async def test_whoever_asks_and_never_reads_costs_no_memory(namespace: str) -> None:
    """A thousand tables asked for on a connection whose window is never opened again."""
    async with AsyncExitStack() as stack:
        placement = await stack.enter_async_context(Placement())
        async with PlacementClient(placement.address, "host", namespace=namespace) as host:
            await host.report(*(f"type-{number:04}" for number in range(400)))
            await obey(1, host)
            before = await _resident(placement)
            reader, writer = await asyncio.open_connection("127.0.0.1", placement.port)
            writer.write(_requests(namespace, 1000))
            await writer.drain()
            await asyncio.sleep(1.0)
            async with PlacementClient(placement.address, "other", namespace=namespace) as other:
                await other.report()
                await other.expect("lock", 1)
            assert await _resident(placement) - before < 40 << 20
            writer.close()
            await writer.wait_closed()
            del reader


async def _resident(placement: Placement) -> float:
    return (await asyncio.to_thread(placement.metrics))["process_resident_memory_bytes"]


def _requests(namespace: str, count: int) -> bytes:
    """A stream's opening and so many reports, as HTTP/2 frames."""
    import h2.config
    import h2.connection

    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", METHOD),
        (":authority", "placement"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    connection.send_headers(1, headers)
    message = pb.Host(id="idle", namespace=namespace, operation=pb.REPORT).SerializeToString()
    frame = b"\0" + len(message).to_bytes(4, "big") + message
    sent = connection.data_to_send()
    for _ in range(min(count, 60_000 // len(frame))):
        connection.send_data(1, frame)
        sent += connection.data_to_send()
    return sent


async def test_stopping_says_so_and_does_not_wait_for_anybody() -> None:
    async with (
        Placement() as placement,
        PlacementClient(placement.address, "a") as a,
        PlacementClient(placement.address, "b") as b,
    ):
        await a.report("A")
        await a.expect("lock", 1)
        await b.report("B")
        began = time.monotonic()
        placement.signal(signal.SIGTERM)
        for one in (a, b):
            assert await one.status() == (
                grpc.StatusCode.UNAVAILABLE,
                "placement server is shutting down",
            )
        assert await asyncio.to_thread(placement.wait_exit) == 0
        assert time.monotonic() - began < 20


def test_a_taken_port_is_a_clear_end() -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        server = Placement(port=port, exit_code=1)
        server.start()
        assert server.wait_exit(60.0) == 1
        assert f"placement server could not listen on any address: 127.0.0.1:{port}" in server.log


def test_several_servers_without_a_lock_end_with_what_to_do() -> None:
    server = Placement("--id=p1", "--initial-cluster=p1=h:1,p2=h:2", exit_code=1)
    server.start()
    assert server.wait_exit() == 1
    assert "--leader-lock" in server.log


async def test_large_tables_are_packed_for_those_who_take_that(
    placement: Placement, namespace: str
) -> None:
    types = [f"type-{number:04}" for number in range(200)]
    only_plain = [("grpc.compression_enabled_algorithms_bitset", 1)]
    async with (
        PlacementClient(placement.address, "packed", namespace=namespace) as packed,
        PlacementClient(
            placement.address, "plain", namespace=namespace, options=only_plain
        ) as plain,
    ):
        await packed.report(*types)
        await obey(1, packed)
        await plain.report(*types)
        found = await obey(2, packed, plain)
        assert found == {name: ["packed", "plain"] for name in types}


@pytest.mark.parametrize(
    ("flags", "silence", "round_"),
    [
        ((), "5000", "8000"),
        (
            ("--keepalive-time=1s", "--keepalive-timeout=1500ms", "--disseminate-timeout=2s"),
            "2500",
            "2000",
        ),
    ],
)
async def test_sidecars_are_told_when_they_are_given_up(
    flags: tuple[str, ...], silence: str, round_: str
) -> None:
    with Placement(*flags) as placement:
        async with PlacementClient(placement.address, "a") as a:
            await a.report("A")
            await a.obey("lock 1", "update 1", "unlock 1")
            told = dict(await a.stream.initial_metadata())
    assert told["dapr-placement-silence-ms"] == silence
    assert told["dapr-placement-round-ms"] == round_
