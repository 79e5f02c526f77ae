"""What a sidecar in Kubernetes starts with, and what reaches it while it serves."""

from __future__ import annotations

import asyncio
import http.client
import signal
import statistics

from harness.cluster_apps import (
    COMPONENTS,
    CONFIGURATIONS,
    HTTP_ENDPOINTS,
    RESILIENCIES,
    SUBSCRIPTIONS,
    Place,
    components,
    until,
)
from harness.http_call import acall
from harness.local_app import LocalApp
from harness.sidecar import Sidecar

DENIED = {"api": {"denied": [{"name": "state", "version": "v1.0", "protocol": "http"}]}}


async def line(sidecar: Sidecar, text: str, count: int = 1) -> None:
    await asyncio.to_thread(sidecar.wait_lines, text, count)


async def test_it_starts_with_the_resources_of_its_namespace(place: Place) -> None:
    await place.secret("db", path=str(place.folder / "state.db"))
    await place.component("mem")
    reference = {"secretKeyRef": {"name": "db", "key": "path"}}
    await place.component("file", "state.sqlite", connectionString=reference)
    await place.apply(CONFIGURATIONS, "mine", DENIED)
    async with await place.sidecar(config="mine") as sidecar:
        assert await components(sidecar) == {"mem": "state.in-memory", "file": "state.sqlite"}
        assert (place.folder / "state.db").exists()
        secret = await acall(sidecar.http_port, "GET", "/v1.0/secrets/kubernetes/db")
        assert secret.json == {"path": str(place.folder / "state.db")}
        assert (await acall(sidecar.http_port, "GET", "/v1.0/state/mem/k")).status == 404


async def test_without_the_builtin_store_values_are_filled_in_all_the_same(place: Place) -> None:
    await place.secret("db", path=str(place.folder / "state.db"))
    reference = {"secretKeyRef": {"name": "db", "key": "path"}}
    await place.component("file", "state.sqlite", connectionString=reference)
    flags = ["--disable-builtin-k8s-secret-store"]
    async with await place.sidecar(flags=flags) as sidecar:
        assert await components(sidecar) == {"file": "state.sqlite"}
        secret = await acall(sidecar.http_port, "GET", "/v1.0/secrets/kubernetes/db")
        assert secret.code == "ERR_SECRET_STORES_NOT_CONFIGURED"


async def test_components_and_their_secrets_change_while_it_serves(place: Place) -> None:
    await place.secret("db", path=str(place.folder / "one.db"))
    flags = ["--hot-reload-reconcile-interval=1s"]  # no event tells of a Secret
    async with await place.sidecar(flags=flags) as sidecar:
        assert await components(sidecar) == {}
        await place.component("a")
        await until(sidecar, {"a": "state.in-memory"})
        reference = {"secretKeyRef": {"name": "db", "key": "path"}}
        await place.component("a", "state.sqlite", connectionString=reference)
        await until(sidecar, {"a": "state.sqlite"})
        await place.secret("db", path=str(place.folder / "two.db"))
        await line(sidecar, "Component loaded: a (state.sqlite/v1)", 2)
        assert (place.folder / "two.db").exists()
        await place.delete(COMPONENTS, "a")
        await until(sidecar, {})


async def test_what_is_for_other_apps_does_not_reach_it(place: Place) -> None:
    spec = {"type": "state.in-memory", "version": "v1", "metadata": []}
    await place.apply(COMPONENTS, "theirs", spec, scopes=["payments"])
    async with await place.sidecar() as sidecar:
        await place.component("mine")
        await until(sidecar, {"mine": "state.in-memory"})
        await place.apply(COMPONENTS, "theirs", spec, scopes=["payments", "orders"])
        await until(sidecar, {"mine": "state.in-memory", "theirs": "state.in-memory"})
        await place.apply(COMPONENTS, "theirs", spec, scopes=["payments"])
        await until(sidecar, {"mine": "state.in-memory"})


async def test_subscriptions_change_while_it_serves(place: Place) -> None:
    # A broker that keeps events: between two subscriptions there may be a moment without one.
    await place.component("ps", "pubsub.sqlite", connectionString=str(place.folder / "bus.db"))

    async def subscribe(route: str) -> None:
        spec = {"pubsubname": "ps", "topic": "t", "routes": {"default": route}}
        await place.apply(SUBSCRIPTIONS, "s", spec)

    await subscribe("/one")
    async with (
        LocalApp({"POST /one": 200, "POST /two": 200}) as app,
        await place.sidecar(app_port=app.port) as sidecar,
    ):

        async def subscribed(route: str) -> None:
            async with asyncio.timeout(30):
                while True:
                    answer = await acall(sidecar.http_port, "GET", "/v1.0/metadata")
                    found = answer.json.get("subscriptions", [])
                    if [one["rules"][-1]["path"] for one in found] == ([route] if route else []):
                        return
                    await asyncio.sleep(0.01)

        async def publish() -> None:
            assert (await acall(sidecar.http_port, "POST", "/v1.0/publish/ps/t", 1)).status == 204

        await publish()
        await app.wait("/one")
        await subscribe("/two")
        await subscribed("/two")
        await publish()
        await app.wait("/two")
        await place.delete(SUBSCRIPTIONS, "s")
        await subscribed("")


async def test_endpoints_and_policies_change_while_it_serves(place: Place) -> None:
    await place.secret("key", key="s3cret")
    async with (
        LocalApp({"GET /x": 200, "GET /y": 503}) as app,
        await place.sidecar() as sidecar,
    ):
        header = {"name": "key", "secretKeyRef": {"name": "key", "key": "key"}}
        url = f"http://127.0.0.1:{app.port}"
        await place.apply(HTTP_ENDPOINTS, "api", {"baseUrl": url, "headers": [header]})
        async with asyncio.timeout(30):
            while (
                await acall(sidecar.http_port, "GET", "/v1.0/invoke/api/method/x")
            ).status != 200:
                await asyncio.sleep(0.01)
        assert app.seen_on("/x")[-1].headers["key"] == "s3cret"

        retry = {"policy": "constant", "duration": "1ms", "maxRetries": 3}
        spec = {
            "policies": {"retries": {"again": retry}},
            "targets": {"apps": {"api": {"retry": "again"}}},
        }
        await place.apply(RESILIENCIES, "r", spec)

        async def tries() -> int:
            before = len(app.seen_on("/y"))
            await acall(sidecar.http_port, "GET", "/v1.0/invoke/api/method/y")
            return len(app.seen_on("/y")) - before

        async with asyncio.timeout(30):
            while await tries() != 4:
                await asyncio.sleep(0.01)


async def test_the_configuration_changes_under_an_open_connection(place: Place) -> None:
    await place.component("mem")
    await place.apply(CONFIGURATIONS, "mine", {})
    async with await place.sidecar(config="mine") as sidecar:
        connection = http.client.HTTPConnection("127.0.0.1", sidecar.http_port, timeout=10)

        def status() -> int:
            connection.request("GET", "/v1.0/state/mem/k")
            response = connection.getresponse()
            response.read()
            return response.status

        assert status() == 204
        used = connection.sock
        await place.apply(CONFIGURATIONS, "mine", DENIED)
        await line(sidecar, "Configuration mine is applied")
        assert status() == 404
        bad = {"policies": [{"appId": "x", "namespace": "", "trustDomain": ""}]}
        await place.apply(CONFIGURATIONS, "mine", {"accessControl": bad})
        await line(sidecar, "the running configuration stays")
        assert status() == 404
        await place.apply(CONFIGURATIONS, "mine", {"components": {"deny": ["state.in-memory"]}})
        await until(sidecar, {})
        assert status() == 500
        await place.apply(CONFIGURATIONS, "mine", {})
        await until(sidecar, {"mem": "state.in-memory"})
        assert status() == 204
        assert connection.sock is used
        connection.close()


async def test_starting_over_keeps_the_identity_and_lists_anew(place: Place) -> None:
    await place.component("a")
    async with await place.sidecar() as sidecar:
        sidecar.signal(signal.SIGHUP)
        await line(sidecar, "dapr initialized", 2)
        await until(sidecar, {"a": "state.in-memory"})
        await place.component("b")
        await until(sidecar, {"a": "state.in-memory", "b": "state.in-memory"})
        assert sidecar.log.count("Fetching initial identity") == 1


async def test_without_hot_reload_nothing_changes_and_failures_are_final(place: Place) -> None:
    off = {"features": [{"name": "HotReload", "enabled": False}]}
    await place.apply(CONFIGURATIONS, "still", off)
    async with await place.sidecar(config="still") as sidecar:
        answer = await acall(sidecar.http_port, "GET", "/v1.0/metadata")
        assert "HotReload" not in answer.json["enabledFeatures"]
    await place.component("bad", "state.nothing")
    broken = await place.sidecar(config="still", exit_code=1)
    broken.start()
    assert await asyncio.to_thread(broken.wait_exit) == 1
    assert "process component bad error: [INIT_COMPONENT_FAILURE]" in broken.log


async def test_a_change_is_used_at_once(place: Place) -> None:
    """From ``kubectl apply`` on, and not when everything is listed again, which is in a minute."""
    loop = asyncio.get_running_loop()
    taken = []
    async with await place.sidecar() as sidecar:
        for number in range(9):
            kind = ("state.in-memory", "pubsub.in-memory")[number % 2]
            began = loop.time()
            await place.component("a", kind)
            await until(sidecar, {"a": kind})
            taken.append(loop.time() - began)
    assert statistics.median(taken) < 5.0, taken  # the rest is the machine's other work
