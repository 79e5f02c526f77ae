"""Lists and streams of a real operator over a real API server, asked as a sidecar asks."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest
from harness.operator import Operator

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.kube.kinds import Kind

COMPONENTS = Kind("dapr.io", "v1alpha1", "components")


async def test_components_and_what_changes(place: Any, operator: Operator) -> None:
    await place.component("store", [{"name": "a", "value": "1"}])
    await place.component("others", scopes=["payments"])
    async with await place.sidecar(operator) as sidecar, sidecar.stream("Component") as stream:
        while "store" not in (found := await sidecar.components()):
            pass
        assert set(found) == {"store"}, "others is for payments"
        began = time.monotonic()
        await place.component("store", [{"name": "a", "value": "2"}])
        applied = time.monotonic() - began
        kind, body = await stream.next()
        while body["spec"]["metadata"][0]["value"] == "1":
            kind, body = await stream.next()
        print("event after", time.monotonic() - began, "apply took", applied)
        assert kind == "UPDATED"
        await place.component("later")
        assert (await stream.next())[0] == "CREATED"
        await place.cluster.client.delete(COMPONENTS, "later", place.apps)
        kind, body = await stream.next()
        assert (kind, body["metadata"]["name"]) == ("DELETED", "later")


async def test_another_namespace_is_refused(place: Any, operator: Operator) -> None:
    async with await place.sidecar(operator) as sidecar:
        with pytest.raises(RpcError) as caught:
            await sidecar.components("kube-system")
        assert caught.value.code == GrpcCode.PERMISSION_DENIED
        assert caught.value.message == (
            f"identity does not match requested namespace exp=kube-system got={place.apps}"
        )


async def test_secrets(place: Any, operator: Operator) -> None:
    await place.secret("redis", password="s3cret")
    reference = {"name": "redis", "key": "password"}
    await place.component("store", [{"name": "redisPassword", "secretKeyRef": reference}])
    async with await place.sidecar(operator) as sidecar:
        while "store" not in (found := await sidecar.components()):
            pass
    entry = found["store"]["spec"]["metadata"][0]
    assert base64.b64decode(entry["value"]) == b"s3cret"
    assert entry["secretKeyRef"] == reference
