"""Pluggable components behind a real sidecar: every kind, late, killed, back again, wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.app import RecordingApp
from harness.http_call import acall
from harness.pluggable import PluggableProcess, sockets_folder
from harness.sidecar import Manifest, Sidecar, component, resource

INJECTED = "DAPR_COMPONENT_SOCKETS_FOLDER"
CHOSEN = "DAPR_COMPONENTS_SOCKETS_FOLDER"


@pytest.fixture
def sockets() -> Iterator[Path]:
    with sockets_folder() as folder:
        yield folder


def store(folder: Path, **more: object) -> Manifest:
    return component(
        "s", "state.mine", inner="state.sqlite", connectionString=folder / "s.db", **more
    )


async def save(sidecar: Sidecar, value: int) -> Any:
    return await acall(sidecar.http_port, "POST", "/v1.0/state/s", [{"key": "k", "value": value}])


async def get(sidecar: Sidecar) -> Any:
    return await acall(sidecar.http_port, "GET", "/v1.0/state/s/k")


async def saved(sidecar: Sidecar, value: int) -> None:
    """Try until it works."""
    async with asyncio.timeout(60):
        while (await save(sidecar, value)).status != 204:
            await asyncio.sleep(0.05)


def told(process: PluggableProcess) -> list[str]:
    """The instances whose metadata it was told."""
    return [line.split()[1] for line in process.stdout_lines if line.startswith("init ")]


async def test_a_killed_component_is_told_its_metadata_again(sockets: Path, tmp_path: Path) -> None:
    manifest = store(tmp_path, MixedCase="kept")
    with PluggableProcess("mine", sockets) as first:
        async with Sidecar(resources=[manifest], env={CHOSEN: str(sockets)}) as sidecar:
            assert (await save(sidecar, 1)).status == 204
            await asyncio.to_thread(first.wait_line, '"MixedCase":"kept"')
            first.kill_hard()
            async with asyncio.timeout(30):
                while True:
                    broken = await save(sidecar, 2)
                    assert (broken.status, broken.code) == (500, "ERR_STATE_SAVE")
                    if "mine.sock: connect: connection refused" in broken.body.decode():
                        break  # the very first may still tell of the connection that ended
            async with PluggableProcess("mine", sockets) as second:
                await asyncio.gather(*(saved(sidecar, n) for n in range(20)))
                await saved(sidecar, 3)
                assert (await get(sidecar)).body == b"3"
                await asyncio.to_thread(second.wait_line, '"MixedCase":"kept"')
                assert told(second) == ["s"]


async def test_etags_transactions_and_limits(sockets: Path, tmp_path: Path) -> None:
    services = ("StateStore", "TransactionalStateStore", "TransactionalStoreMultiMaxSize")
    async with (
        PluggableProcess("mine", sockets, services),
        Sidecar(resources=[store(tmp_path)], env={CHOSEN: str(sockets)}) as sidecar,
    ):
        port = sidecar.http_port
        assert (await save(sidecar, 1)).status == 204
        stale = [{"key": "k", "value": 2, "etag": "another"}]
        refused = await acall(port, "POST", "/v1.0/state/s", stale)
        assert (refused.status, refused.code) == (409, "ERR_STATE_SAVE")
        assert "possible etag mismatch" in refused.body.decode()
        teapot = await acall(port, "GET", "/v1.0/state/s/teapot")
        assert (teapot.status, teapot.code) == (418, "ERR_TEAPOT")
        assert teapot.json["message"] == "no coffee here"
        assert teapot.json["details"] == [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "domain": "kitchen",
                "reason": "TEAPOT",
                "metadata": {"spout": "short"},
            }
        ]
        one = {"operation": "upsert", "request": {"key": "k", "value": 5}}
        url = "/v1.0/state/s/transaction"
        assert (await acall(port, "POST", url, {"operations": [one]})).status == 204
        assert (await get(sidecar)).body == b"5"
        many = await acall(port, "POST", url, {"operations": [one] * 101})
        assert (many.status, many.code) == (400, "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS")
        query = await acall(port, "POST", "/v1.0-alpha1/state/s/query", {})
        assert "does not support querying" in query.body.decode()
        (found,) = (await acall(port, "GET", "/v1.0/metadata")).json["components"]
        assert found["type"] == "state.mine"
        assert {"ETAG", "TRANSACTIONAL", "ACTOR"} <= set(found["capabilities"])


async def test_a_component_that_comes_after_the_sidecar(sockets: Path, tmp_path: Path) -> None:
    """The folder is named as the injector names it; a file that is no socket is none."""
    (sockets / "mine.txt").write_text("no socket")
    manifest = store(tmp_path)
    manifest["spec"]["initTimeout"] = "60s"
    sidecar = Sidecar(resources=[manifest], env={INJECTED: str(sockets)})
    sidecar.start()
    try:
        await asyncio.to_thread(sidecar.wait_line, "Loading component: s ")
        async with PluggableProcess("MINE", sockets):
            await asyncio.to_thread(sidecar.wait_ready)
            assert (await save(sidecar, 1)).status == 204
    finally:
        sidecar.stop()


async def test_hot_reload_waits_for_a_component(sockets: Path, tmp_path: Path) -> None:
    manifest = store(tmp_path)
    manifest["spec"]["ignoreErrors"] = True
    manifest["spec"]["initTimeout"] = "100ms"
    async with Sidecar(resources=[manifest], env={CHOSEN: str(sockets)}) as sidecar:
        line = await asyncio.to_thread(sidecar.wait_line, "couldn't find state store state.mine/v1")
        assert f"{sockets} has no socket mine.sock" in line
        async with PluggableProcess("mine", sockets):
            await saved(sidecar, 1)


async def test_a_changed_manifest_is_told_to_the_component(sockets: Path, tmp_path: Path) -> None:
    async with (
        PluggableProcess("mine", sockets) as process,
        Sidecar(resources=[store(tmp_path)], env={CHOSEN: str(sockets)}) as sidecar,
    ):
        assert (await save(sidecar, 1)).status == 204
        (file,) = sidecar.resources_path.iterdir()
        partial = sidecar.folder / "partial"
        partial.write_text(yaml.safe_dump(store(tmp_path, round="second")))
        partial.replace(file)
        await asyncio.to_thread(process.wait_line, '"round":"second"')
        assert (await save(sidecar, 2)).status == 204
        await asyncio.to_thread(sidecar.wait_line, "Shutting down component s ")
        assert (await get(sidecar)).body == b"2"
        assert told(process) == ["s", "s"]


@pytest.mark.parametrize(
    ("kind", "version", "services", "text"),
    [
        ("state.mine", "v1", "PubSub", "does not serve dapr.proto.components.v1.StateStore; it"),
        ("state.mine", "v2", "StateStore", "couldn't find state store state.mine/v2"),
        ("lock.mine", "v1", "StateStore", "couldn't find lock store lock.mine/v1"),
        ("state.other", "v1", "StateStore", "has no socket other.sock (init timeout for"),
        ("state.mine", "v1", "StateStore", "needs inner"),
    ],
)
async def test_what_is_not_there_ends_the_start(
    sockets: Path, kind: str, version: str, services: str, text: str
) -> None:
    manifest = component("s", kind, version)
    if text == "needs inner":
        text = "'inner'"  # what the component itself says of the metadata
    async with PluggableProcess("mine", sockets, (services,)):
        sidecar = Sidecar(resources=[manifest], env={CHOSEN: str(sockets)}, exit_code=None)
        sidecar.start()
        assert await asyncio.to_thread(sidecar.wait_exit, 60) == 1
        line = next(line for line in sidecar.lines if "level=fatal" in line)
        assert "[INIT_COMPONENT_FAILURE]" in line
        assert text in line


def test_without_the_folder_nothing_is_waited_for(tmp_path: Path) -> None:
    """An unknown type is told at once, as it always was."""
    manifest = component("s", "state.other")
    manifest["spec"]["initTimeout"] = "10m"
    sidecar = Sidecar(resources=[manifest], env={CHOSEN: "", INJECTED: ""}, exit_code=None)
    if Path("/tmp/dapr-components-sockets").is_dir():
        pytest.skip("the folder of sockets is there on this machine")
    sidecar.start()
    assert sidecar.wait_exit(60) == 1
    assert "couldn't find state store state.other/v1" in sidecar.log


async def test_secrets_for_other_manifests(sockets: Path, tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text('{"where": "%s"}' % (tmp_path / "s.db"))
    vault = component(
        "vault",
        "secretstores.mine",
        inner="secretstores.local.file",
        secretsFile=tmp_path / "secrets.json",
    )
    other = component("s", "state.sqlite")
    where = {"name": "connectionString", "secretKeyRef": {"name": "where", "key": "where"}}
    other["spec"]["metadata"].append(where)
    other["auth"] = {"secretStore": "vault"}
    async with (
        PluggableProcess("mine", sockets),
        Sidecar(resources=[other, vault], env={CHOSEN: str(sockets)}) as sidecar,
    ):
        assert (await save(sidecar, 1)).status == 204
        assert (tmp_path / "s.db").exists()
        found = await acall(sidecar.http_port, "GET", "/v1.0/secrets/vault/none")
        assert (found.status, found.code) == (500, "ERR_SECRET_GET")
        assert "code = NotFound" in found.body.decode()


# --- deliveries -------------------------------------------------------------------------------


def bus(folder: Path) -> list[Manifest]:
    manifest = component(
        "ps",
        "pubsub.mine",
        inner="pubsub.sqlite",
        connectionString=folder / "bus.db",
        leaseDuration="1s",
        redeliveryDelay="100ms",
    )
    spec = {"pubsubname": "ps", "topic": "t", "routes": {"default": "/event"}}
    return [manifest, resource("Subscription", "sub", spec, "v2alpha1")]


async def publish(sidecar: Sidecar, number: int) -> bool:
    sent = await acall(sidecar.http_port, "POST", "/v1.0/publish/ps/t", {"n": number})
    return bool(sent.status == 204)


def seen(app: RecordingApp) -> set[int]:
    found = [one["body"] for one in app.reports() if one["path"] == "/event"]
    return {int(body.split('"n":')[1].split("}")[0]) for body in found}


async def test_no_message_is_lost_when_the_bus_is_killed(sockets: Path, tmp_path: Path) -> None:
    """What was published is delivered, what was under way is delivered again."""
    routes = {"POST /event": {"json": {"status": "SUCCESS"}, "delay": 0.05}}
    async with RecordingApp(routes) as app:
        with PluggableProcess("mine", sockets) as first:
            async with Sidecar(
                resources=bus(tmp_path), app_port=app.port, env={CHOSEN: str(sockets)}
            ) as sidecar:
                await asyncio.to_thread(first.wait_line, "subscribed ps t")
                taken = {n for n in range(100) if await publish(sidecar, n)}
                assert len(taken) == 100
                first.kill_hard()
                assert not await publish(sidecar, 1000)
                async with PluggableProcess("mine", sockets) as second:
                    await asyncio.to_thread(second.wait_line, "subscribed ps t")
                    taken |= {n for n in range(100, 150) if await publish(sidecar, n)}
                    assert taken > set(range(100))
                    async with asyncio.timeout(60):
                        while not taken <= seen(app):
                            await asyncio.sleep(0.1)
                    assert told(second).count("ps") == 1


async def test_a_message_the_app_refuses_comes_again(sockets: Path, tmp_path: Path) -> None:
    answers = [{"status": 500}, {"status": 500}, {"json": {"status": "SUCCESS"}}]
    async with (
        RecordingApp({"POST /event": answers}) as app,
        PluggableProcess("mine", sockets) as process,
        Sidecar(resources=bus(tmp_path), app_port=app.port, env={CHOSEN: str(sockets)}) as sidecar,
    ):
        await asyncio.to_thread(process.wait_line, "subscribed ps t")
        assert await publish(sidecar, 7)
        await asyncio.to_thread(app.wait_reports, 3, 60, path="/event")
        assert seen(app) == {7}


async def test_an_input_binding_answers_and_comes_back(sockets: Path) -> None:
    """The app's answer and its refusal reach the component; only the way used is initialised."""
    manifest = component("cron", "bindings.mine", inner="bindings.cron", schedule="@every 1s")
    manifest["spec"]["metadata"].append({"name": "direction", "value": "input"})
    answers = [{"status": 500, "body": "not now"}, {"status": 200, "body": "taken"}]
    async with RecordingApp({"POST /cron": answers}) as app:
        with PluggableProcess("mine", sockets) as first:
            async with Sidecar(resources=[manifest], app_port=app.port, env={CHOSEN: str(sockets)}):
                await asyncio.to_thread(first.wait_line, "not now")
                await asyncio.to_thread(first.wait_line, "answered taken ")
                assert told(first) == ["cron"]
                first.kill_hard()
                async with PluggableProcess("mine", sockets) as second:
                    await asyncio.to_thread(second.wait_line, "answered taken ")
                    assert told(second) == ["cron"]


async def test_an_output_binding(sockets: Path, tmp_path: Path) -> None:
    manifest = component(
        "files", "bindings.mine", inner="bindings.localstorage", rootPath=tmp_path / "f"
    )
    async with (
        PluggableProcess("mine", sockets, ("OutputBinding",)),
        Sidecar(resources=[manifest], env={CHOSEN: str(sockets)}) as sidecar,
    ):
        port, url = sidecar.http_port, "/v1.0/bindings/files"
        where = {"fileName": "a"}
        body = {"operation": "create", "data": "text", "metadata": where}
        assert (await acall(port, "POST", url, body)).status == 200
        found = await acall(port, "POST", url, {"operation": "get", "metadata": where})
        assert found.body == b"text"
        wrong = await acall(port, "POST", url, {"operation": "none"})
        assert "does not support operation none" in wrong.body.decode()
