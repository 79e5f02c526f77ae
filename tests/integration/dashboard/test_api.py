"""The JSON API of a machine, over real sidecars: records of Dapr's dashboard, and no secrets."""

from __future__ import annotations

import asyncio
import re
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from harness.app import RecordingApp
from harness.cli import UP, Dapr
from harness.dashboard import Dashboard
from harness.html_page import Page
from harness.http_call import Answer, call
from harness.sidecar import Sidecar, component

PATHS = (
    *("/api/features", "/api/platform", "/api/scopes", "/api/version", "/api/instances/All"),
    *("/api/components/All", "/api/configurations/All", "/api/controlplanestatus"),
)
INSTANCE = (
    *("appID", "httpPort", "grpcPort", "appPort", "command", "created", "age", "pid", "replicas"),
    *("address", "supportsDeletion", "supportsLogs", "manifest", "status", "labels", "selector"),
    "config",
)
WRITER = """
import os, time
for number in range(150):
    print(f"line {number}", flush=True)
print('time="2021-11-26T10:00:00.5Z" level=error msg="postgres://me:topsecret@db/x"', flush=True)
while not os.path.exists("more"):
    time.sleep(0.05)
print("and more", flush=True)
time.sleep(90)
"""


def found(dashboard: Dashboard, path: str) -> Any:
    """A JSON answer."""
    answer = dashboard.get(path)
    assert answer.status == 200, (path, answer.body)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    return answer.json


def assert_error(answer: Answer, status: int, words: str) -> None:
    """It is told as JSON, and nobody else may use it."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["x-frame-options"] == "DENY"
    assert set(answer.json) == {"error"}
    assert words in answer.json["error"]


def test_what_it_is(dashboard: Dashboard) -> None:
    assert found(dashboard, "/api/features") == ["components", "configurations"]
    assert dashboard.get("/api/platform").body == b"standalone"
    assert found(dashboard, "/api/scopes") == ["All"]
    assert found(dashboard, "/api/version") == {"version": "1.18.3", "runtimeVersion": "1.18.3"}


def test_an_instance_and_what_its_sidecar_says(dashboard: Dashboard, app_id: str) -> None:
    store = component("memory", "state.in-memory")
    with (
        RecordingApp({}) as app,
        Sidecar(app_id, resources=[store], app_port=app.port, config={}) as sidecar,
    ):
        call(sidecar.http_port, "PUT", "/v1.0/metadata/appCommand", b"run --token topsecret")
        call(sidecar.http_port, "PUT", "/v1.0/metadata/apiKey", b"topsecret")
        one = found(dashboard, f"/api/instances/All/{app_id}")
        assert set(one) == set(INSTANCE)
        assert one["appID"] == app_id
        assert (one["httpPort"], one["grpcPort"]) == (sidecar.http_port, sidecar.grpc_port)
        assert (one["appPort"], one["pid"]) == (app.port, sidecar.process.pid)
        assert one["command"] == "run --token ••••••"
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d\.\d\d", one["created"])
        assert one["age"].endswith(("s", "m"))
        assert (one["replicas"], one["status"]) == (1, "ready")
        assert one["address"] == f"localhost:{sidecar.http_port}"
        assert (one["supportsDeletion"], one["supportsLogs"]) == (False, False)
        assert one["config"] == str(sidecar.folder / "config.yaml")
        assert [one["manifest"], one["labels"], one["selector"]] == ["", "", ""]
        (listed,) = (
            each for each in found(dashboard, "/api/instances/All") if each["appID"] == app_id
        )
        assert listed["pid"] == one["pid"]
        assert found(dashboard, f"/api/instances/local/{app_id}")["pid"] == one["pid"]
        assert found(dashboard, f"/api/instances/All/{app_id}/containers") == []

        said = found(dashboard, f"/api/metadata/All/{app_id}")
        assert said["id"] == app_id
        assert said["runtimeVersion"] == "1.18.3"
        assert "HotReload" in said["enabledFeatures"]
        assert [each["name"] for each in said["components"]] == ["memory"]
        assert "ETAG" in said["components"][0]["capabilities"]
        assert (said["actors"], said["subscriptions"]) == ([], [])
        assert said["extended"]["apiKey"] == "••••••"

        answer = dashboard.get(f"/api/deploymentconfiguration/All/{app_id}")
        assert_error(answer, 404, "has no pod")


def test_components_and_configurations(dashboard: Dashboard, app_id: str) -> None:
    name = f"store-{app_id}"
    store = component(name, "state.redis", redisHost="127.0.0.1:9", redisPassword="topsecret")
    store["spec"]["ignoreErrors"] = True
    store["spec"]["metadata"].append(
        {"name": "redisUsername", "secretKeyRef": {"name": "users", "key": "redis"}}
    )
    store["scopes"] = [app_id]
    rate = f"0.{int(app_id.removeprefix('app-'), 16)}1"  # no other test's
    config = {
        "tracing": {
            "samplingRate": rate,
            "otel": {"headers": [{"name": "x", "value": "topsecret"}]},
        },
        "metrics": {"enabled": False},
        "mtls": {"enabled": True, "workloadCertTTL": "24h", "allowedClockSkew": "15m"},
    }
    with Sidecar(app_id, resources=[store], config=config) as sidecar:
        one = found(dashboard, f"/api/components/All/{name}")
        (listed,) = (
            each for each in found(dashboard, "/api/components/All") if each["name"] == name
        )
        assert {**one, "age": ""} == {**listed, "age": ""}, "which may be a second later"
        assert set(one) == {"name", "kind", "type", "created", "age", "scopes", "manifest"}
        assert (one["kind"], one["type"]) == ("Component", "state.redis")
        assert one["scopes"] == [app_id]
        assert one["manifest"]["spec"]["metadata"] == [
            {"name": "redisHost", "value": "127.0.0.1:9"},
            {"name": "redisPassword", "value": "••••••"},
            {"name": "redisUsername", "secretKeyRef": {"name": "users", "key": "redis"}},
        ]
        assert one["manifest"]["apiVersion"] == "dapr.io/v1alpha1"
        (configuration,) = (
            each
            for each in found(dashboard, "/api/configurations/All")
            if each["samplingRate"] == rate
        )
        manifest = configuration.pop("manifest")
        assert configuration["created"]
        assert configuration["age"].endswith(("s", "m"))
        assert configuration | {"created": "", "age": ""} == {
            "name": "config",
            "kind": "Configuration",
            "created": "",
            "age": "",
            "tracingEnabled": True,
            "samplingRate": rate,
            "metricsEnabled": False,
            "mtlsEnabled": True,
            "mtlsWorkloadTTL": "24h",
            "mtlsClockSkew": "15m",
        }
        assert manifest["spec"]["mtls"] == config["mtls"]
        for path in (*PATHS, f"/api/metadata/All/{app_id}", f"/api/instances/All/{app_id}"):
            assert b"topsecret" not in dashboard.get(path).body, path
        assert str(sidecar.process.pid) in dashboard.get("/api/instances/All").body.decode()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("instances/All/nobody", "there is no app nobody in All"),
        ("instances/nowhere/nobody/containers", "there is no app nobody in nowhere"),
        ("instances/All/nobody/logstreams/daprd", "there is no app nobody"),
        ("deploymentconfiguration/All/nobody", "there is no app nobody"),
        ("metadata/All/nobody", "there is no app nobody"),
        ("components/All/nobody", "there is no nobody in All"),
        ("configurations/All/no%2Fbody", "there is no no/body in All"),
        ("instances/All/%3Cscript%3E", "there is no app <script> in All"),
        ("nothing", "nothing at this path"),
        ("", "nothing at this path"),
    ],
)
def test_what_is_not_there(dashboard: Dashboard, path: str, words: str) -> None:
    assert_error(dashboard.get(f"/api/{path}"), 404, words)


def test_it_only_reads(dashboard: Dashboard, app_id: str) -> None:
    with Sidecar(app_id) as sidecar:
        for method in ("DELETE", "POST", "PUT"):
            answer = call(dashboard.port, method, f"/api/instances/All/{app_id}", b"")
            assert_error(answer, 405, "The dashboard only reads")
            assert answer.headers["allow"] == "GET,HEAD"
        assert sidecar.get_status("/v1.0/healthz") == 204


def test_other_names_and_pages_get_nothing(dashboard: Dashboard) -> None:
    for path in PATHS:
        answer = dashboard.get(path, host="evil.example")
        assert answer.status == 421
        headers = dashboard.get(path).headers
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers


def test_a_sidecar_that_hangs(dashboard: Dashboard, app_id: str) -> None:
    with Sidecar(app_id) as sidecar:
        sidecar.signal(signal.SIGSTOP)
        try:
            one = found(dashboard, f"/api/instances/All/{app_id}")
            answer = dashboard.get(f"/api/metadata/All/{app_id}")
        finally:
            sidecar.signal(signal.SIGCONT)
        assert one["status"] == "does not answer"
        assert_error(answer, 502, "no answer within 4 s")


# --- logs -----------------------------------------------------------------------------------------


def run_file(folder: Path, app_id: str, program: str) -> str:
    (folder / app_id).mkdir()
    app = {
        "appID": app_id,
        "appDirPath": app_id,
        "command": [sys.executable, "-c", program],
    }
    file = folder / f"{app_id}.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "apps": [app]}))
    return str(file)


@asynccontextmanager
async def stream(url: str, **headers: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """The records of a log."""
    async with (
        asyncio.timeout(40),
        aiohttp.ClientSession() as session,
        session.ws_connect(url, headers=headers) as socket,
    ):
        yield socket


async def until(socket: aiohttp.ClientWebSocketResponse, last: str) -> list[dict[str, Any]]:
    """Records up to the one with a text."""
    records = [await socket.receive_json()]
    while last not in records[-1]["content"]:
        records.append(await socket.receive_json())
    return records


async def test_logs_are_followed(tmp_path: Path, app_id: str) -> None:
    dapr = Dapr(tmp_path)
    await asyncio.to_thread(dapr.init)
    async with (
        Dashboard(home=tmp_path) as dashboard,
        dapr.run("-f", run_file(tmp_path, app_id, WRITER)) as run,
    ):
        await asyncio.to_thread(run.wait_line, UP)
        await asyncio.to_thread(run.wait_line, "level=error")
        assert found(dashboard, f"/api/instances/All/{app_id}/containers") == ["app", "daprd"]
        path = f"/api/instances/All/{app_id}/logstreams"
        url = f"http://localhost:{dashboard.port}{path}"
        async with stream(f"{url}/app") as socket:
            records = await until(socket, "postgres")
            assert len(records) <= 100
            assert records[-2] | {"timestamp": 0} == {
                "level": "info",
                "timestamp": 0,
                "container": "app",
                "content": "line 149",
            }
            assert records[-2]["timestamp"] > records[-1]["timestamp"] == 1637920800500000000
            assert records[-1]["level"] == "error"
            assert "topsecret" not in str(records)
            (tmp_path / app_id / "more").touch()
            assert (await until(socket, "and more"))[-1]["content"] == "and more"
        async with stream(f"{url}/daprd") as socket:
            assert await until(socket, "dapr initialized")

        assert_error(await asyncio.to_thread(dashboard.get, f"{path}/app"), 426, "WebSocket")
        assert_error(await asyncio.to_thread(dashboard.get, f"{path}/other"), 404, "no log other")
        async with stream(f"{url}/app", Origin=f"http://localhost:{dashboard.port}") as socket:
            assert await until(socket, "and more")
        for origin in ("http://evil.example", "http://localhost:1", "null"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with stream(f"{url}/app", Origin=origin):
                    pass
            assert refused.value.status == 403

        async with stream(f"{url}/app") as socket:
            assert await until(socket, "and more")
            stopping = asyncio.create_task(asyncio.to_thread(dashboard.stop))
            assert (await socket.receive()).data == aiohttp.WSCloseCode.GOING_AWAY
            await stopping
    await asyncio.to_thread(dapr.assert_nothing_left)


# --- below a path of a proxy ----------------------------------------------------------------------


def test_a_base_path(app_id: str, tmp_path: Path) -> None:
    token = secrets.token_hex(4)
    env = {"SERVER_BASE_HREF": f"/tools/{token}/"}
    base = f"/tools/{token}"
    with Dashboard(home=tmp_path, env=env) as dashboard, Sidecar(app_id):
        assert f"http://localhost:{dashboard.port}{base}" in dashboard.log
        for path in ("", base):  # whether the proxy strips it or not
            page = Page(dashboard.get(f"{path}/components").body.decode())
            targets = [link for link in page.links if not link.startswith("#")]
            assert targets
            assert all(link.startswith(f"{base}/") for link in targets)
            assert dashboard.get(f"{path}/static/style.css").status == 200
            assert found(dashboard, f"{path}/api/scopes") == ["All"]
            assert_error(dashboard.get(f"{path}/api/components/All/none"), 404, "there is no")
            (current,) = (
                each for each in page.root.all("a") if each.attributes.get("aria-current") == "page"
            )
            assert current.text == "Components"
        assert app_id in dashboard.page(base).text
        (link,) = (
            str(each.attributes["href"])
            for each in dashboard.page(f"{base}/").root.all("a")
            if each.text == app_id
        )
        assert app_id in dashboard.page(link).text
