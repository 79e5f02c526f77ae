"""What sidecars say of their resources stands in the resources' status."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from harness.operator_process import Operator

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.kube.kinds import KubeObject
from dapr_common.wire.daprpy.operator.v1.status_pb2 import ResourceStatus
from dapr_operator.kinds import COMPONENT, RESILIENCY

LOADED, FAILED = ResourceStatus.LOADED, ResourceStatus.FAILED


def ready(body: KubeObject) -> tuple[str, str]:
    conditions = body.get("status", {}).get("conditions", [{}])
    return conditions[0].get("status", ""), conditions[0].get("reason", "")


def loaded(body: KubeObject) -> str:
    return str(body.get("status", {}).get("loaded", ""))


@pytest.mark.slow
async def test_from_loading_to_failing_to_gone(place: Any, operator: Operator) -> None:
    await place.component("store")
    await place.component("others", scopes=["payments"])
    async with (
        await place.sidecar(operator, "orders") as one,
        await place.sidecar(operator, "orders") as two,
        two.reporting("orders-2") as second,
    ):
        async with one.reporting("orders-1") as first:
            await first(("Component", "store", LOADED, ""))
            await second(("Component", "store", LOADED, ""))
            found = await place.until(COMPONENT.kind, "store", lambda one: loaded(one) == "2/2")
            assert ready(found) == ("True", "Loaded")
            assert found["status"]["sidecars"] == {"total": 2, "loaded": 2, "failed": 0}
            await second(("Component", "store", FAILED, "wrong password"))
            found = await place.until(COMPONENT.kind, "store", lambda one: loaded(one) == "1/2")
            assert ready(found) == ("False", "LoadFailed")
            assert found["status"]["lastError"]["message"] == "wrong password"
            assert found["status"]["lastError"]["sidecar"] == "orders-2"
            event = await place.event("LoadFailed", "wrong password")
            assert event["involvedObject"]["uid"] == found["metadata"]["uid"]
            await second(("Component", "store", LOADED, ""))
            found = await place.until(COMPONENT.kind, "store", lambda one: loaded(one) == "2/2")
            assert "lastError" not in found["status"]
        await place.until(COMPONENT.kind, "store", lambda one: loaded(one) == "1/1")
    found = await place.until(COMPONENT.kind, "store", lambda one: loaded(one) == "0/0")
    assert ready(found) == ("Unknown", "NoSidecars")
    others = await place.until(COMPONENT.kind, "others")
    assert "status" not in others, "there was nothing to say of it"


async def test_other_kinds_have_a_condition(place: Any, operator: Operator) -> None:
    spec = {"policies": {}, "targets": {}}
    await place.apply(RESILIENCY.kind, "Resiliency", "policies", {"spec": spec})
    async with await place.sidecar(operator) as sidecar, sidecar.reporting("p") as report:
        await report(("Resiliency", "policies", FAILED, "no such policy 'x'"))
        found = await place.until(
            RESILIENCY.kind, "policies", lambda one: ready(one) == ("False", "LoadFailed")
        )
        assert "no such policy 'x'" in found["status"]["conditions"][0]["message"]


async def test_a_missing_secret_is_told(place: Any, operator: Operator) -> None:
    reference = {"name": "none", "key": "password"}
    await place.component("store", [{"name": "p", "secretKeyRef": reference}])
    found = await place.until(
        COMPONENT.kind, "store", lambda one: ready(one) == ("False", "SecretMissing")
    )
    assert found["status"]["conditions"][0]["message"] == "p: there is no secret 'none'"
    await place.event("SecretMissing", "there is no secret 'none'")


async def test_many_reports_are_few_writes(place: Any, operator: Operator) -> None:
    made = await place.component("store")
    versions = set()
    async with await place.sidecar(operator) as sidecar, sidecar.reporting("p") as report:
        began = time.monotonic()
        for number in range(20):
            await report(("Component", "store", FAILED, f"failure {number}"))
        found = await place.until(
            COMPONENT.kind,
            "store",
            lambda one: (
                versions.add(one["metadata"]["resourceVersion"])
                or one.get("status", {}).get("lastError", {}).get("message") == "failure 19"
            ),
        )
    assert found["metadata"]["generation"] == made["metadata"]["generation"]
    halves = (time.monotonic() - began) / 0.5  # reports are taken for two seconds at least
    assert len(versions) <= halves + 2, "one write in half a second, the first and the last"


async def test_nobody_reports_for_another_namespace(place: Any, operator: Operator) -> None:
    async with await place.sidecar(operator) as sidecar:
        sidecar.namespace = "default"
        async with sidecar.reporting("p") as report, asyncio.timeout(40):

            async def report_until_refused() -> None:
                while True:
                    await report()
                    await asyncio.sleep(0.05)

            with pytest.raises(RpcError, match="report's namespace") as caught:
                await report_until_refused()
    assert caught.value.code == GrpcCode.PERMISSION_DENIED
