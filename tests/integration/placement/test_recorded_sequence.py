"""What Go's placement was seen to answer, order by order, to clients that are not ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import grpc
import pytest
from harness.placement_process import Placement, PlacementClient, tables

from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb


@pytest.fixture(scope="module")
def placement() -> Iterator[Placement]:
    with Placement("--disseminate-timeout", "5s") as running:
        yield running


async def test_the_recorded_sequence(placement: Placement) -> None:
    namespace = "recorded"

    def client(app_id: str) -> PlacementClient:
        return PlacementClient(placement.address, app_id, namespace=namespace)

    async with client("client0") as client0, client("app1") as app1, client("app2") as app2:
        await client0.report()
        assert await client0.expect("lock", 0) == pb.PlacementOrder(operation="lock")
        update = await client0.expect("update", 0)
        assert update == pb.PlacementOrder(
            operation="update", tables=pb.PlacementTables(version="0", replication_factor=100)
        )
        assert await client0.expect("unlock", 0) == pb.PlacementOrder(operation="unlock")
        for operation in (pb.LOCK, pb.UPDATE, pb.UNLOCK):  # not waited for, and of no effect
            await client0.send(operation=operation, version=0)

        await app1.report("B", "A")
        locks = [await client0.expect("lock", 1), await app1.expect("lock", 1)]
        await app1.acknowledge(locks[1])
        assert await app1.is_quiet()
        await client0.acknowledge(locks[0])
        updates = [await client0.expect("update", 1), await app1.expect("update", 1)]
        assert updates[0] == updates[1]
        assert updates[0].tables.version == "1"
        assert tables(updates[0]) == {"A": ["app1"], "B": ["app1"]}
        assert updates[0].tables.entries["A"].load_map == {
            app1.name: pb.Host(
                name=app1.name,
                id="app1",
                namespace=namespace,
                entities=["A", "B"],
                api_level=20,
                operation=pb.REPORT,
            )
        }
        assert not updates[0].tables.entries["A"].hosts
        await client0.acknowledge(updates[0])
        assert await app1.is_quiet()
        await app1.acknowledge(updates[1])
        for one in (client0, app1):
            await one.acknowledge(await one.expect("unlock", 1))

        async def round_of(version: int, *clients: PlacementClient) -> dict[str, list[str]]:
            orders = [f"{each} {version}" for each in ("lock", "update")]
            found = await asyncio.gather(*(one.obey(*orders) for one in clients))
            await asyncio.gather(*(one.obey(f"unlock {version}") for one in clients))
            assert all(each == found[0] for each in found)
            return tables(found[0])

        await app2.report("A")
        assert await round_of(2, client0, app1, app2) == {"A": ["app1", "app2"], "B": ["app1"]}
        await app2.report("A")
        assert await app2.is_quiet()
        await app2.report()
        assert await round_of(3, client0, app1, app2) == {"A": ["app1"], "B": ["app1"]}
        await app1.close()
        assert await round_of(4, client0, app2) == {}

        async with client("client3") as client3:
            await client3.report()
            update = await client3.obey("lock 4", "update 4")
            assert update.tables == pb.PlacementTables(version="4", replication_factor=100)
            await client3.obey("unlock 4")
            assert await client0.is_quiet()

            async with client("silent") as silent:
                await silent.report("A")
                for one in (client0, app2, client3):
                    await one.obey("lock 5")
                await silent.expect("lock", 5)
                assert await round_of(6, client0, app2, client3) == {}
                assert await silent.status() == (
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    "dissemination timeout after 5s for version 5",
                )
