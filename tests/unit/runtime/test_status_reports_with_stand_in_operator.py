"""What the operator is told, and when it is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from harness.stand_in_operator import StandInOperator

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.daprpy.operator.v1.status_pb2 import ResourceStatus
from dapr_sidecar.runtime.operator_client import OperatorClient
from dapr_sidecar.runtime.resources import Resources
from dapr_sidecar.runtime.security import SidecarSecurity
from dapr_sidecar.runtime.status_reports import StatusReports
from dapr_sidecar.runtime.statuses import StatusBook


def book(*names: str) -> StatusBook:
    made = StatusBook()
    made.seen(Resources(versions={("Component", name): "5" for name in names}))
    return made


@asynccontextmanager
async def reporting(
    operator: StandInOperator, told: StatusBook
) -> AsyncIterator[asyncio.Task[None]]:
    client = OperatorClient(operator.address, "apps", cast(SidecarSecurity, operator.security()))
    task = asyncio.create_task(StatusReports(client, told, "orders-1").run())
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await client.close()


async def test_everything_is_told_at_once_and_changes_together() -> None:
    operator, told = StandInOperator(), book("a", "b")
    told.set("Component", "a", "loaded")
    told.set("Component", "kubernetes", "loaded")  # none of the cluster's
    async with operator.serving(), reporting(operator, told):
        await operator.until(lambda: operator.reports)
        first = operator.reports[0]
        assert (first.namespace, first.pod) == ("apps", "orders-1")
        assert [(one.kind, one.name) for one in first.resources] == [("Component", "a")]
        assert first.resources[0].resource_version == "5"
        assert first.resources[0].HasField("since")
        told.set("Component", "a", "failed", "why")
        told.set("Component", "b", "pending")
        await operator.until(lambda: len(operator.reports) == 2)
        second = {one.name: one for one in operator.reports[1].resources}
        assert (second["a"].state, second["a"].message) == (ResourceStatus.FAILED, "why")
        assert second["b"].state == ResourceStatus.PENDING


async def test_it_begins_again_after_an_interruption() -> None:
    operator, told = StandInOperator(), book("a")
    told.set("Component", "a", "loaded")
    operator.failures["Report"] = [RpcError(GrpcCode.UNAVAILABLE, "shutting down")]
    async with operator.serving(), reporting(operator, told):
        await operator.until(lambda: operator.reports)
    assert operator.calls.count("Report") == 2


async def test_an_operator_that_takes_no_reports_is_left_alone() -> None:
    operator = StandInOperator(reports=False)
    async with operator.serving(), reporting(operator, book()) as task:
        async with asyncio.timeout(20):
            await task


def test_what_the_book_says() -> None:
    told = book("a")
    told.set("Component", "a", "failed", "why")
    since = told.entries["Component", "a"].since
    told.changed.clear()
    told.set("Component", "a", "failed", "why")
    assert not told.changed.is_set()
    told.seen(Resources(versions={("Component", "a"): "6"}), [("Component", "a")])
    assert told.entries["Component", "a"].version == "6"
    assert told.entries["Component", "a"].since == since

    unreadable = Resources(
        versions={("Component", "a"): "7"}, faults={("Component", "a"): "not readable"}
    )
    told.seen(unreadable)
    told.set("Component", "a", "loaded")
    assert told.entries["Component", "a"].message == "not readable"
    told.seen(Resources(versions={("Component", "a"): "8"}))
    assert told.entries["Component", "a"].state == "loaded"
    told.keep("Component", [])
    assert told.entries == {}
