"""Components that do not work: what still serves, and who is told."""

from __future__ import annotations

import asyncio
from typing import Any

from harness.cluster_apps import COMPONENTS, Place, components, until
from harness.http_call import acall
from harness.sidecar import Sidecar


async def health(sidecar: Sidecar) -> tuple[int, str]:
    answer = await acall(sidecar.http_port, "GET", "/v1.0/healthz")
    return answer.status, answer.json["message"] if answer.body else ""


async def ready(sidecar: Sidecar, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while (await health(sidecar))[0] != 204:
            await asyncio.sleep(0.02)


async def test_a_required_component_that_fails_keeps_a_new_sidecar_unready(place: Place) -> None:
    path = place.folder / "taken" / "state.db"
    path.parent.write_text("no directory")
    await place.component("db", "state.sqlite", connectionString=str(path))
    await place.component("mem")
    async with await place.sidecar(ready="healthz/outbound") as sidecar:
        status, message = await health(sidecar)
        assert status == 500
        assert message.startswith("dapr is not ready: [")
        assert "component db (" in message
        assert await components(sidecar) == {"mem": "state.in-memory"}
        path.parent.unlink()  # nobody changes the manifest: it is tried again
        await ready(sidecar)
        await until(sidecar, {"db": "state.sqlite", "mem": "state.in-memory"})


async def test_a_manifest_that_is_mended_or_goes_makes_it_ready(place: Place) -> None:
    await place.component("a", "state.nothing")
    await place.component("b", "state.nothing")
    async with await place.sidecar(ready="healthz/outbound") as sidecar:
        status, message = await health(sidecar)
        assert status == 500
        assert "component a (couldn't find state store state.nothing/v1)" in message
        await place.component("a")
        await place.delete(COMPONENTS, "b")
        await ready(sidecar)


async def test_a_component_that_cannot_be_read_is_in_the_way_and_named(place: Place) -> None:
    """A secret's bytes need not be a text; a component cannot do anything with others."""
    await place.secret_bytes("raw", key=b"\xff\xfe")
    reference = {"secretKeyRef": {"name": "raw", "key": "key"}}
    await place.component("db", "state.sqlite", connectionString=reference)
    await place.component("optional", "state.sqlite", ignore=True, connectionString=reference)
    await place.component("mem")
    async with await place.sidecar(ready="healthz/outbound") as sidecar:
        status, message = await health(sidecar)
        assert status == 500
        assert "'connectionString': the secret's value is no text" in message
        assert "component db (Component db cannot be read" in message
        assert "optional" not in message
        assert await components(sidecar) == {"mem": "state.in-memory"}
        await place.component("db")
        await ready(sidecar)
        assert await components(sidecar) == {"db": "state.in-memory", "mem": "state.in-memory"}


async def test_ignored_errors_and_missing_secrets_are_not_in_the_way(place: Place) -> None:
    missing = {"secretKeyRef": {"name": "nowhere", "key": "k"}}
    await place.component("broken", "state.nothing", ignore=True)
    await place.component("secretless", "state.sqlite", ignore=True, connectionString=missing)
    await place.component("mem")
    async with await place.sidecar() as sidecar:
        assert (await health(sidecar))[0] == 204
        assert (await components(sidecar))["mem"] == "state.in-memory"


async def test_a_broken_component_applied_live_takes_nothing_away(place: Place) -> None:
    await place.component("a")
    async with await place.sidecar() as sidecar:
        await place.component("a", "state.nothing")
        await place.component("new", "state.nothing")
        await asyncio.to_thread(sidecar.wait_line, "the version before stays in use")
        await asyncio.to_thread(sidecar.wait_line, "it is not loaded")
        assert await components(sidecar) == {"a": "state.in-memory"}
        assert (await health(sidecar))[0] == 204


async def test_a_component_that_hangs_holds_no_other_up(place: Place) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, await place.sidecar() as sidecar:
        host = [{"name": "redisHost", "value": address}]
        spec = {"type": "state.redis", "version": "v1", "initTimeout": "5m", "metadata": host}
        await place.apply(COMPONENTS, "hangs", spec)
        await asyncio.to_thread(sidecar.wait_line, "Loading component: hangs")
        await place.component("mem")
        await until(sidecar, {"mem": "state.in-memory"})


async def test_the_cluster_is_told(place: Place) -> None:
    await place.component("good")
    secret = "dont-show-this"
    await place.secret("db", path=f"/proc/{secret}/state.db")
    reference = {"secretKeyRef": {"name": "db", "key": "path"}}
    await place.component("bad", "state.sqlite", ignore=True, connectionString=reference)

    async def status(name: str) -> dict[str, Any]:
        found = await place.cluster.client.get(COMPONENTS, name, place.apps)
        return dict(found.get("status") or {})

    async with await place.sidecar() as sidecar:
        async with asyncio.timeout(40):  # a new leader waits for sidecars to come
            while not await status("good") or not await status("bad"):
                await asyncio.sleep(0.1)
        good, bad = await status("good"), await status("bad")
        assert good["loaded"] == "1/1", good
        assert bad["loaded"] == "0/1", bad
        assert secret not in str(bad)
        assert secret not in str(await health(sidecar))
        assert secret not in sidecar.log
