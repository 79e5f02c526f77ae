"""Several operators: one leads, all serve, and nobody notices which is which."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import pytest

from dapr_common.kube.kinds import KubeObject
from dapr_common.wire.daprpy.operator.v1.status_pb2 import ResourceStatus
from dapr_operator.kinds import COMPONENT, LEASES, SERVICES

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
            assert 'dapr_operator_service_created_total{app_id="orders-1"}' in first.metrics()
            await place.component("store")
            for operator in (first, second):
                async with await place.sidecar(operator) as sidecar:
                    async with asyncio.timeout(5):
                        while "store" not in await sidecar.components():
                            await asyncio.sleep(0.01)
            began = time.monotonic()
            await asyncio.to_thread(first.stop)
            await asyncio.to_thread(second.wait_line, LEADS)
            assert time.monotonic() - began < 5, "the lease was released"
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
            async with await place.sidecar(second) as sidecar, asyncio.timeout(5):
                while "store" not in await sidecar.components():  # nobody leads, all serve
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(lambda: second.wait_line(LEADS, 30.0))


@pytest.mark.slow
async def test_reports_reach_the_leader_from_everywhere(place: Any) -> None:
    """One status, whichever operator a sidecar is connected to, also after a hand-over."""
    await place.component("store")

    def loaded(count: str) -> Any:
        return lambda one: one.get("status", {}).get("loaded") == count

    async with place.operator() as first:
        await asyncio.to_thread(first.wait_line, LEADS)
        async with (
            place.operator() as second,
            place.operator() as third,
            await place.sidecar(second) as two,
            await place.sidecar(third) as three,
            two.reporting("orders-2") as at_second,
            three.reporting("orders-3") as at_third,
        ):
            await at_second(("Component", "store", LOADED, ""))
            await at_third(("Component", "store", LOADED, ""))
            async with await place.sidecar(first) as one, one.reporting("orders-1") as at_first:
                await at_first(("Component", "store", LOADED, ""))
                await place.until(COMPONENT.kind, "store", loaded("3/3"))
            await place.until(COMPONENT.kind, "store", loaded("2/2"))
            await asyncio.to_thread(first.stop)
            await asyncio.sleep(0)
            await at_second(("Component", "store", ResourceStatus.FAILED, "after the hand-over"))
            found = await place.until(COMPONENT.kind, "store", loaded("1/2"))
            assert found["status"]["lastError"]["sidecar"] == "orders-2"
            writers = {name for name in (second.log, third.log) if LEADS in name}
            assert len(writers) == 1


async def test_without_an_election(place: Any) -> None:
    async with place.operator("--disable-leader-election"):
        await place.deployment("one", "orders-1")
        await place.until(SERVICES, "orders-1-dapr")
