"""Traces, metrics and logs of real sidecars, without Zipkin, Grafana or a terminal."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from harness.app import RecordingApp
from harness.cli import UP, Dapr
from harness.dashboard import Dashboard
from harness.html_page import Page
from harness.http_call import call
from harness.programs import free_port
from harness.sidecar import Sidecar, component

T = TypeVar("T")
SPANS = "/api/v2/spans"
TALKER = """
import time
print("I talk", flush=True)
print("<i>level=error</i> oh", flush=True)
time.sleep(90)
"""


def until(look: Callable[[], T | None], seconds: float = 40.0) -> T:
    """What a page says sooner or later: nothing tells when a sidecar has sent its spans."""
    end = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < end, "never seen on the page"
        time.sleep(0.2)
    return found


def test_a_call_through_two_sidecars_is_one_trace(tmp_path: Path, app_id: str) -> None:
    port = free_port()
    zipkin = {"endpointAddress": f"http://127.0.0.1:{port}{SPANS}"}
    config = {"tracing": {"samplingRate": "1", "zipkin": zipkin}}
    caller, called = f"{app_id}-a", f"{app_id}-b"
    with (
        Dashboard(home=tmp_path, zipkin_port=port) as dashboard,
        RecordingApp({"GET /hi": {"body": "hello"}}) as app,
        Sidecar(called, app_port=app.port, config=config),
        Sidecar(caller, config=config) as sidecar,
    ):
        dashboard.page("/")  # asks both sidecars how they are, and so does the command line
        dapr = Dapr(tmp_path)
        assert dapr.listed(caller)
        dapr("check")
        path = f"/v1.0/invoke/{called}/method/hi"
        assert call(sidecar.http_port, "GET", path).body == b"hello"

        def whole() -> str | None:
            page = dashboard.page("/traces")
            rows = page.table("The last traces")
            both = f"{caller}, {called}"
            for row, link in zip(rows, trace_links(page), strict=True):
                if row["Services"] == both:
                    assert int(row["Spans"]) >= 2
                    assert row["State"] == "● ok"
                    return link
            return None

        page = dashboard.page(until(whole))
        spans = page.table("Spans in the order of their calls")
        assert spans[0]["Service"] == caller
        assert {span["Service"] for span in spans} == {caller, called}
        assert all(float(span["ms"]) >= 0 for span in spans)
        assert len(page.root.all("rect")) == len(spans)
        names = page.text + dashboard.page("/traces").text
        assert "metadata" not in names, "the questions of those who look are no traces"


def trace_links(page: Page) -> list[str]:
    return [link for link in page.links if link.startswith("/traces/")]


def test_what_the_receiver_refuses(tmp_path: Path) -> None:
    port = free_port()
    span = {"traceId": "t1", "id": "a", "name": "<b>bold</b>", "timestamp": 1, "duration": 2}
    json_type = {"Content-Type": "application/json"}
    with Dashboard(home=tmp_path, zipkin_port=port) as dashboard:

        def send(body: bytes, headers: dict[str, str]) -> int:
            return call(port, "POST", SPANS, body, headers).status

        good = json.dumps([span]).encode()
        assert send(good, {"Content-Type": "text/plain"}) == 415, "what a page may send unasked"
        assert send(good, {**json_type, "Host": "evil.example"}) == 421
        assert send(b"{", json_type) == 400
        assert send(b"{}", json_type) == 400
        assert send(b'[{"id": 1}]', json_type) == 400
        assert send(b" " * (6 << 20), json_type) == 413
        assert dashboard.page("/traces").table("The last traces") == []
        assert send(good, json_type) == 202
        page = dashboard.page("/traces/t1")
        assert "<b>bold</b>" in page.text
        assert not page.root.all("b")


def test_a_port_that_a_zipkin_has(tmp_path: Path) -> None:
    with RecordingApp({}) as zipkin, Dashboard(home=tmp_path, zipkin_port=zipkin.port) as dashboard:
        assert f"port {zipkin.port} is taken" in dashboard.page("/traces").text


def test_traffic_now_and_since_the_start(dashboard: Dashboard, app_id: str) -> None:
    dashboard.page("/metrics")  # somebody looks: samples are taken from now on
    with Sidecar(app_id, resources=[component("memory", "state.in-memory")]) as sidecar:
        for number in range(20):
            body = [{"key": str(number), "value": number}]
            assert call(sidecar.http_port, "POST", "/v1.0/state/memory", body).status == 204
        assert call(sidecar.http_port, "GET", "/v1.0/state/none/a").status == 400

        def drawn() -> Page | None:
            assert call(sidecar.http_port, "GET", "/v1.0/state/memory/0").status == 200
            page = dashboard.page("/metrics")
            row = page.row("Traffic of each sidecar", app_id)
            return page if row["Requests/s"] == "" and float(row["Now"]) > 0 else None

        page = until(drawn)
        labels = [str(image.attributes["aria-label"]) for image in page.root.all("svg")]
        assert any(label.startswith("Requests per second, ") for label in labels)
        rows = [row for row in page.table_rows("HTTP API since the start") if "memory" in str(row)]
        assert "20" in {row["Count"] for row in rows}
        (row,) = (
            row
            for row in page.table_rows("Components since the start")
            if row["What"] == "state memory set"
        )
        assert (row["Count"], row["Failed"]) == ("20", "0")


def run_file(folder: Path, app_id: str) -> Path:
    (folder / app_id).mkdir()
    app: dict[str, Any] = {"appID": app_id, "appDirPath": app_id}
    app["command"] = [sys.executable, "-c", TALKER]
    file = folder / "dapr.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "apps": [app]}))
    return file


def test_logs_of_a_run_file(tmp_path: Path, app_id: str) -> None:
    dapr = Dapr(tmp_path)
    dapr.init()
    with (
        Dashboard(home=tmp_path) as dashboard,
        dapr.run("-f", str(run_file(tmp_path, app_id))) as run,
    ):
        run.wait_line(UP)
        run.wait_line("I talk")
        path = dashboard.app(app_id)
        assert {f"{path}/logs/app", f"{path}/logs/daprd"} <= set(dashboard.page(path).links)
        page = until(lambda: log_with(dashboard, f"{path}/logs/app", "oh"))
        assert "I talk" in page.text
        assert [
            each.text for each in page.root.all("span") if each.attributes.get("class") == "bad"
        ]
        assert not page.root.all("i")
        found = dashboard.page(f"{path}/logs/app?q=TALK&lines=100")
        assert "I talk" in found.text
        assert "1 line of 1." in found.text
        assert "level=error" not in found.text
        daprd = dashboard.page(f"{path}/logs/daprd?lines=nonsense")
        assert "dapr initialized" in daprd.text
        dashboard.page(f"{path}/logs/other", status=404)
        components = dashboard.page("/components")
        assert components.table("All components"), "what dapr init wrote"
    dapr.assert_nothing_left()


def log_with(dashboard: Dashboard, path: str, word: str) -> Page | None:
    page = dashboard.page(path)
    return page if word in page.text else None


def test_a_log_that_is_none_is_not_read(dashboard: Dashboard, app_id: str, tmp_path: Path) -> None:
    """Any local program may write a sidecar's metadata."""
    secret = tmp_path / "secret.txt"
    secret.write_text(f"topsecret-{secrets.token_hex(4)}")
    with Sidecar(app_id) as sidecar:
        call(sidecar.http_port, "PUT", "/v1.0/metadata/appLogPath", str(secret).encode())
        page = dashboard.page(f"{dashboard.app(app_id)}/logs/app", status=502)
        assert "is no log of dapr run" in page.text
        assert "topsecret" not in page.source


def test_the_command_starts_it(tmp_path: Path, app_id: str) -> None:
    dapr = Dapr(tmp_path)
    program = Dashboard(command=[sys.executable, "-m", "dapr_cli", "dashboard"], env=dapr.env())
    with program as dashboard, Sidecar(app_id):
        assert f"http://localhost:{dashboard.port}" in dashboard.log
        row = dashboard.page("/").row("Applications and their sidecars", app_id)
        assert row["Sidecar"] == "● ready"


def test_a_port_that_is_taken(dashboard: Dashboard) -> None:
    second = Dashboard(exit_code=1)
    second.command = [
        each if not each.startswith("--port=") else f"--port={dashboard.port}"
        for each in second.command
    ]
    second.start()
    assert second.wait_exit() == 1
    assert f"port {dashboard.port} of 127.0.0.1 cannot be listened on" in second.log
    assert "--port chooses another" in second.log


@pytest.mark.parametrize("flag", ["--port=x", "--port=70000", "--zipkin-port=-1"])
def test_flags_that_cannot_be(flag: str) -> None:
    program = Dashboard(flag, exit_code=None)
    program.start()
    assert program.wait_exit() in (1, 2)
    assert flag.partition("=")[0] in program.log
