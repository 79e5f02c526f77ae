"""Resources that change while the sidecar serves: no call fails, a wrong one changes nothing."""

from __future__ import annotations

import asyncio
import http.client
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.http_call import Answer, acall, call
from harness.local_app import LocalApp
from harness.redis_server import is_available, redis_server
from harness.sidecar import Manifest, Sidecar, component, resource

PUBSUB = component("ps", "pubsub.in-memory")


def subscription(topic: str, route: str) -> Manifest:
    spec = {"pubsubname": "ps", "topic": topic, "routes": {"default": route}}
    return resource("Subscription", f"s-{topic}", spec, "v2alpha1")


def put(sidecar: Sidecar, name: str, *manifests: Manifest | str) -> None:
    """Put a whole file in place, as editors and ConfigMaps do."""
    texts = [text if isinstance(text, str) else yaml.safe_dump(text) for text in manifests]
    partial = sidecar.folder / "partial"
    partial.write_text("---\n".join(texts))
    partial.replace(sidecar.resources_path / f"{name}.yaml")


def components(sidecar: Sidecar) -> dict[str, str]:
    found = call(sidecar.http_port, "GET", "/v1.0/metadata").json.get("components", [])
    return {one["name"]: one["type"] for one in found}


async def until(sidecar: Sidecar, expected: Any) -> None:
    async with asyncio.timeout(30):
        while await asyncio.to_thread(components, sidecar) != expected:
            await asyncio.sleep(0.02)


async def line(sidecar: Sidecar, text: str) -> str:
    return await asyncio.to_thread(sidecar.wait_line, text)


async def save(sidecar: Sidecar, store: str) -> Answer:
    return await acall(
        sidecar.http_port, "POST", f"/v1.0/state/{store}", [{"key": "k", "value": 1}]
    )


async def test_components_come_change_break_and_go(tmp_path: Path) -> None:
    async with Sidecar() as sidecar:
        assert (await save(sidecar, "a")).code == "ERR_STATE_STORE_NOT_CONFIGURED"
        put(sidecar, "a", component("a", "state.in-memory"))
        await until(sidecar, {"a": "state.in-memory"})
        assert (await save(sidecar, "a")).status == 204
        # another type under the same name
        path = tmp_path / "state.db"
        put(sidecar, "a", component("a", "state.sqlite", connectionString=path))
        await until(sidecar, {"a": "state.sqlite"})
        assert (await save(sidecar, "a")).status == 204
        # a version that cannot be brought up, a file that is no YAML, a type that is wrong
        for number, bad in enumerate(
            (
                component("a", "state.sqlite", connectionString="/dev/null/db"),
                "kind: [\n",
                component("a", "state.nothing"),
            )
        ):
            put(sidecar, "a", bad)
            said = "what it held before stays" if number == 1 else "the version before stays in use"
            await line(sidecar, said)
            got = await acall(sidecar.http_port, "GET", "/v1.0/state/a/k")
            assert (got.status, got.body) == (200, b"1")
        # two of one name
        put(sidecar, "b", component("c", "state.in-memory"), component("c", "state.in-memory"))
        await line(sidecar, "duplicate definition of Component name c")
        assert (await save(sidecar, "a")).status == 204
        (sidecar.resources_path / "b.yaml").unlink()
        (sidecar.resources_path / "a.yaml").unlink()
        await until(sidecar, {})
        assert (await save(sidecar, "a")).status == 500


async def test_a_component_that_becomes_right_is_loaded() -> None:
    async with Sidecar() as sidecar:
        put(sidecar, "a", component("a", "state.nothing"))
        await line(sidecar, "it is not loaded")
        put(sidecar, "a", component("a", "state.in-memory"))
        await until(sidecar, {"a": "state.in-memory"})


async def test_a_change_of_category_and_of_scope(tmp_path: Path) -> None:
    async with Sidecar(resources=[component("a", "state.in-memory")]) as sidecar:
        other = component("a", "bindings.localstorage", rootPath=tmp_path)
        put(sidecar, "00-a", other)
        await until(sidecar, {"a": "bindings.localstorage"})
        assert (await save(sidecar, "a")).status == 500
        other["scopes"] = ["another"]
        put(sidecar, "00-a", other)
        await until(sidecar, {})


async def test_what_waits_for_a_secret_store_is_loaded_with_it(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text('{"key": "pre"}')
    waiting = component("a", "state.in-memory")
    waiting["spec"]["metadata"] = [
        {"name": "keyPrefix", "secretKeyRef": {"name": "key", "key": "key"}}
    ]
    waiting["auth"] = {"secretStore": "vault"}
    async with Sidecar(resources=[waiting]) as sidecar:
        assert await asyncio.to_thread(components, sidecar) == {}
        vault = component("vault", "secretstores.local.file", secretsFile=tmp_path / "secrets.json")
        put(sidecar, "vault", vault)
        await until(sidecar, {"a": "state.in-memory", "vault": "secretstores.local.file"})
        await line(sidecar, "Component loaded: a ")
        assert sidecar.log.count("Component loaded: a ") == 1


@pytest.mark.skipif(not is_available(), reason="redis-server is not installed")
async def test_no_request_fails_while_a_store_is_swapped_again_and_again() -> None:
    failures: list[tuple[int, bytes]] = []
    done = asyncio.Event()
    count = 0

    async def save_on_and_on(sidecar: Sidecar) -> None:
        nonlocal count
        while not done.is_set():
            answer = await save(sidecar, "a")
            count += 1
            if answer.status != 204:
                failures.append((answer.status, answer.body))

    with redis_server() as redis:
        first = component("a", "state.redis", redisHost=redis.address)
        async with Sidecar(resources=[first]) as sidecar:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(4):
                    tasks.create_task(save_on_and_on(sidecar))
                for number in range(5):
                    before = count
                    changed = component("a", "state.redis", redisHost=redis.address, redisDB=number)
                    put(sidecar, "00-a", changed)
                    await asyncio.to_thread(
                        sidecar.wait_lines, "Component loaded: a (state.redis/v1)", number + 2
                    )
                    while count < before + 20:
                        await asyncio.sleep(0.01)
                done.set()
            assert failures == []


async def test_subscriptions_come_change_and_go() -> None:
    async with (
        LocalApp({"POST /one": 200, "POST /two": 200}) as app,
        Sidecar(app_port=app.port, resources=[PUBSUB]) as sidecar,
    ):

        async def publish(number: int) -> None:
            done = await acall(sidecar.http_port, "POST", "/v1.0/publish/ps/t", number)
            assert done.status == 204

        async def subscribed(route: str | None) -> None:
            async with asyncio.timeout(30):
                while True:
                    answer = await acall(sidecar.http_port, "GET", "/v1.0/metadata")
                    found = answer.json.get("subscriptions", [])
                    if [one["rules"][-1]["path"] for one in found] == ([route] if route else []):
                        return
                    await asyncio.sleep(0.02)

        put(sidecar, "s", subscription("t", "/one"))
        await subscribed("/one")
        await publish(1)
        await app.wait("/one")
        put(sidecar, "s", subscription("t", "/two"))
        await subscribed("/two")
        await publish(2)
        await app.wait("/two")
        put(sidecar, "s", "kind: [\n")
        await line(sidecar, "what it held before stays")
        await publish(3)
        await app.wait("/two", 2)
        (sidecar.resources_path / "s.yaml").unlink()
        await subscribed(None)
        await publish(4)
        assert len(app.seen_on("/one")) == 1


async def test_no_message_is_lost_while_a_broker_component_is_swapped(tmp_path: Path) -> None:
    broker = component("ps", "pubsub.sqlite", connectionString=tmp_path / "b.db")
    async with (
        LocalApp({"POST /t": 200}) as app,
        Sidecar(app_port=app.port, resources=[broker, subscription("t", "/t")]) as sidecar,
    ):
        for number in range(60):
            done = await acall(sidecar.http_port, "POST", "/v1.0/publish/ps/t", number)
            assert done.status == 204
            if number % 15 == 5:
                changed = component(
                    "ps", "pubsub.sqlite", connectionString=tmp_path / "b.db", note=number
                )
                put(sidecar, "00-ps", changed)
        async with asyncio.timeout(40):
            while len({event.json["data"] for event in app.seen_on("/t")}) < 60:
                await asyncio.sleep(0.02)


async def test_endpoints_and_policies_come_change_and_go() -> None:
    async def stubborn(_: object) -> int:
        return 503

    async with LocalApp({"GET /x": 200, "GET /y": stubborn}) as app, Sidecar() as sidecar:
        path = "/v1.0/invoke/api/method/x"
        assert (await acall(sidecar.http_port, "GET", path)).status == 500
        endpoint = resource(
            "HTTPEndpoint",
            "api",
            {"baseUrl": f"http://127.0.0.1:{app.port}", "headers": [{"name": "v", "value": "1"}]},
        )
        put(sidecar, "e", endpoint)
        async with asyncio.timeout(30):
            while (await acall(sidecar.http_port, "GET", path)).status != 200:
                await asyncio.sleep(0.02)
        assert app.seen_on("/x")[-1].headers["v"] == "1"
        endpoint["spec"]["headers"][0]["value"] = "2"
        put(sidecar, "e", endpoint)
        async with asyncio.timeout(30):
            while app.seen_on("/x")[-1].headers["v"] != "2":
                assert (await acall(sidecar.http_port, "GET", path)).status == 200

        def policy(retries: object) -> Manifest:
            return resource(
                "Resiliency",
                "r",
                {
                    "policies": {
                        "retries": {
                            "again": {
                                "policy": "constant",
                                "duration": "1ms",
                                "maxRetries": retries,
                            }
                        }
                    },
                    "targets": {"apps": {"api": {"retry": "again"}}},
                },
            )

        async def tries() -> int:
            before = len(app.seen_on("/y"))
            await acall(sidecar.http_port, "GET", "/v1.0/invoke/api/method/y")
            return len(app.seen_on("/y")) - before

        put(sidecar, "r", policy(3))
        async with asyncio.timeout(30):
            while await tries() != 4:
                await asyncio.sleep(0.02)
        put(sidecar, "r", policy("many"))
        await line(sidecar, "Could not load resiliency policy r")
        assert await tries() == 4
        (sidecar.resources_path / "r.yaml").unlink()
        async with asyncio.timeout(30):
            while await tries() == 4:
                await asyncio.sleep(0.02)
        (sidecar.resources_path / "e.yaml").unlink()
        async with asyncio.timeout(30):
            while (await acall(sidecar.http_port, "GET", path)).status != 500:
                await asyncio.sleep(0.02)


async def test_without_hot_reload_a_restart_reads_everything() -> None:
    off = {"features": [{"name": "HotReload", "enabled": False}]}
    async with Sidecar(config=off) as sidecar:
        put(sidecar, "a", component("a", "state.in-memory"))
        sidecar.signal(signal.SIGHUP)
        await asyncio.to_thread(sidecar.wait_lines, "dapr initialized", 2)
        assert await asyncio.to_thread(components, sidecar) == {"a": "state.in-memory"}


async def test_the_active_configuration_among_the_resources_is_applied() -> None:
    sidecar = Sidecar()
    path = sidecar.resources_path / "config.yaml"
    denied = [{"name": "metadata", "version": "v1", "protocol": "http"}]
    path.write_text(yaml.safe_dump(resource("Configuration", "mine", {})))
    sidecar.command.append(f"--config={path}")
    async with sidecar:
        connection = http.client.HTTPConnection("127.0.0.1", sidecar.http_port, timeout=10)

        def status() -> int:
            connection.request("GET", "/v1.0/metadata")
            response = connection.getresponse()
            response.read()
            return response.status

        assert status() == 200
        socket_before = connection.sock
        put(sidecar, "other", resource("Configuration", "other", {"api": {"denied": denied}}))
        put(sidecar, "config", resource("Configuration", "mine", {"api": {"denied": denied}}))
        await line(sidecar, "Configuration mine is applied")
        assert status() == 404
        put(sidecar, "config", resource("Configuration", "mine", {"api": {"denied": 1}}))
        await line(sidecar, "the running configuration stays")
        assert status() == 404
        put(sidecar, "config", resource("Configuration", "mine", {}))
        await asyncio.to_thread(sidecar.wait_lines, "Configuration mine is applied", 2)
        assert status() == 200
        assert connection.sock is socket_before
        assert "Starting over" not in sidecar.log
        connection.close()


async def test_the_log_level_changes_while_the_sidecar_runs() -> None:
    sidecar = Sidecar()
    path = sidecar.resources_path / "config.yaml"
    path.write_text(yaml.safe_dump(resource("Configuration", "mine", {})))
    sidecar.command += [f"--config={path}", "--log-level=info"]
    async with sidecar:

        def level(name: str) -> Manifest:
            manifest = resource("Configuration", "mine", {})
            manifest["metadata"]["annotations"] = {"dapr.io/log-level": name}
            return manifest

        put(sidecar, "config", level("error"))
        put(sidecar, "a", component("a", "state.in-memory"))
        await until(sidecar, {"a": "state.in-memory"})
        assert "Loading component: a" not in sidecar.log, "that is told at level info"
        put(sidecar, "config", level("loud"))
        await line(sidecar, "annotation dapr.io/log-level 'loud': expected one of debug, info")
        put(sidecar, "config", resource("Configuration", "mine", {}))
        await line(sidecar, "Configuration mine is applied")
        put(sidecar, "b", component("b", "state.in-memory"))
        await line(sidecar, "Loading component: b")
        # By a signal, as long as nothing else says otherwise.
        sidecar.signal(signal.SIGUSR1)
        await line(sidecar, "SIGUSR1: log level set to: debug")
        sidecar.signal(signal.SIGUSR1)
        await line(sidecar, "SIGUSR1: log level set to: info")


async def test_a_directory_that_is_put_in_place_anew_is_followed() -> None:
    async with Sidecar(flags=["--hot-reload-reconcile-interval=200ms"]) as sidecar:
        sidecar.resources_path.rename(sidecar.folder / "old")
        await line(sidecar, "resources cannot be reloaded, the loaded ones stay")
        sidecar.resources_path.mkdir()
        put(sidecar, "a", component("a", "state.in-memory"))
        await until(sidecar, {"a": "state.in-memory"})
