"""Two sidecars of a cluster that speak to each other, while their Configurations change."""

from __future__ import annotations

import asyncio
from typing import Any

from harness.cluster_apps import CONFIGURATIONS, Place
from harness.http_call import Answer, acall
from harness.local_app import LocalApp
from harness.sidecar import Sidecar

CALLEE = "localhost"  # an app id that a name format can make an address of


def found_at(port: int) -> dict[str, Any]:
    return {
        "nameResolution": {
            "component": "nameformat",
            "version": "v1",
            "configuration": {"format": f"{{appid}}:{port}"},
        }
    }


async def invoke(caller: Sidecar) -> Answer:
    return await acall(caller.http_port, "GET", f"/v1.0/invoke/{CALLEE}/method/x")


async def applied(sidecar: Sidecar, count: int = 1) -> None:
    await asyncio.to_thread(sidecar.wait_lines, "is applied", count)


async def test_names_and_access_change_under_mutual_tls(place: Place) -> None:
    mutual = ["--enable-mtls"]
    await place.apply(CONFIGURATIONS, "callee", {})
    await place.apply(CONFIGURATIONS, "caller", found_at(1))
    async with (
        LocalApp({"GET /x": 200}) as app,
        await place.sidecar(CALLEE, config="callee", flags=mutual, app_port=app.port) as callee,
        await place.sidecar("orders", config="caller", flags=mutual) as caller,
    ):
        assert (await invoke(caller)).status == 500
        await place.apply(CONFIGURATIONS, "caller", found_at(callee.internal_port))
        await applied(caller)
        assert (await invoke(caller)).status == 200
        deny = {"appId": "orders", "namespace": place.apps, "trustDomain": "public"}
        policies = [{**deny, "defaultAction": "deny"}]
        rules = {"defaultAction": "allow", "policies": policies}
        await place.apply(CONFIGURATIONS, "callee", {"accessControl": rules})
        await applied(callee)
        refused = await invoke(caller)
        assert refused.status == 403
        assert f"spiffe://public/ns/{place.apps}/orders" in refused.body.decode()
        await place.apply(CONFIGURATIONS, "callee", {})
        await applied(callee, 2)
        assert (await invoke(caller)).status == 200
