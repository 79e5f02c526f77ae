"""Several operators: one leads, all serve, and nobody notices which is which."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from harness.operator_process import OperatorClient

from dapr_common.grpc.errors import RpcError
from dapr_common.kube.kinds import LEASES, KubeObject
from dapr_common.wire.daprpy.operator.v1.status_pb2 import ResourceStatus
from dapr_operator.kinds import COMPONENT, SERVICES

SYSTEM = "dapr-system"
LEADS = "This operator leads"
LOADED = ResourceStatus.LOADED


def holder(lease: KubeObject) -> str:
    return str(lease["spec"].get("holderIdentity") or "")


@pytest.mark.slow
async def test_hand_over(place: Any) -> None:
    async with place.operator() as first:
        await asyncio.to_thread(first.wait_line, LEADS)
        async with place.operator() as second:
            await place.deployment("one", "orders-1")
            await place.until(SERVICES, "orders-1-dapr")
            assert LEADS not in second.log
            await first.counted('dapr_operator_service_created_total{app_id="orders-1"}', 1)
            await place.component("store")
            for operator in (first, second):
                async with await place.sidecar(operator) as sidecar:
                    async with asyncio.timeout(30):
                        while "store" not in await sidecar.components():
                            await asyncio.sleep(0.01)
            client = place.cluster.client
            leader = holder(await client.get(LEASES, "operator.dapr.io", SYSTEM))
            await asyncio.to_thread(first.stop)
            lease = await client.get(LEASES, "operator.dapr.io", SYSTEM)
            assert holder(lease) != leader, "released: nobody waits for its end"
            await asyncio.to_thread(second.wait_line, LEADS)
            await place.deployment("two", "orders-2")
            await place.until(SERVICES, "orders-2-dapr")
    lease = await place.cluster.client.get(LEASES, "operator.dapr.io", SYSTEM)
    assert holder(lease) == "", "released"
    assert lease["spec"]["leaseTransitions"] >= 3


@pytest.mark.slow
async def test_a_leader_that_dies(place: Any) -> None:
    first = place.operator(exit_code=None)
    async with first:
        await asyncio.to_thread(first.wait_line, LEADS)
        async with place.operator() as second:
            first.signal(signal.SIGKILL)
            await asyncio.to_thread(first.wait_exit)
            await place.component("store")
            async with await place.sidecar(second) as sidecar, asyncio.timeout(30):
                while "store" not in await sidecar.components():  # nobody leads, all serve
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(lambda: second.wait_line(LEADS, 50.0))


@pytest.mark.slow
async def test_reports_reach_the_leader_from_everywhere(place: Any) -> None:
    """One status, whichever operator a sidecar is connected to, also after a hand-over."""
    await place.component("store")
    loaded = ("Component", "store", LOADED, "")

    def counts(count: str) -> Callable[[KubeObject], bool]:
        return lambda one: one.get("status", {}).get("loaded") == count

    async with place.operator() as first:
        await asyncio.to_thread(first.wait_line, LEADS)
        async with (
            place.operator() as second,
            place.operator() as third,
            await place.sidecar(second) as two,
            await place.sidecar(third) as three,
            _always_reporting(two, "orders-2", loaded),
            _always_reporting(three, "orders-3", loaded),
        ):
            async with await place.sidecar(first) as one, _always_reporting(one, "o-1", loaded):
                await place.until(COMPONENT.kind, "store", counts("3/3"))
            await place.until(COMPONENT.kind, "store", counts("2/2"))
            patch = {"status": {"loaded": "nobody has written this since"}}
            await asyncio.to_thread(first.stop)
            client = place.cluster.client
            await client.patch(COMPONENT.kind, "store", patch, place.apps, part="status")
            await place.until(COMPONENT.kind, "store", counts("2/2"))
            assert sum(LEADS in operator.log for operator in (second, third)) == 1


@asynccontextmanager
async def _always_reporting(
    sidecar: OperatorClient, pod: str, state: tuple[str, str, Any, str]
) -> AsyncIterator[None]:
    """As sidecars do: whenever the stream ends they open another and say everything anew."""

    async def report_for_ever() -> None:
        while True:
            try:
                async with sidecar.reporting(pod) as report:
                    while True:
                        await report(state)
                        await asyncio.sleep(0.2)
            except RpcError:
                await asyncio.sleep(0.2)

    reporting = asyncio.ensure_future(report_for_ever())
    try:
        yield
    finally:
        reporting.cancel()
        await asyncio.wait({reporting})


async def test_without_an_election(place: Any) -> None:
    async with place.operator("--disable-leader-election"):
        await place.deployment("one", "orders-1")
        await place.until(SERVICES, "orders-1-dapr")
