"""``dapr run -k -f`` and ``dapr stop -k -f`` on a cluster whose pods run."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.kubectl import get, kubeconfig, kubectl, try_kubectl
from cluster.leftovers import names
from cluster.release import Release
from cluster.waiting import Until
from harness.cli import UP, Dapr, Run
from tools.images import image_name

from dapr_cli.console import Console
from dapr_cli.errors import CliError
from dapr_cli.kube.cluster import UserClient
from dapr_cli.kube.runs.fleet import run_on_cluster
from dapr_cli.run_file import read
from dapr_common.kube.login import kubeconfig_login

# A server, and an app that calls it by the sidecars; each says on its output what it does.
CALLED = """
import os, signal
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            os._exit(3)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["GREETING"].encode())
        print("was asked for", self.path)
    def log_message(self, *_):
        pass
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print("serves", os.environ["APP_ID"])
HTTPServer(("", int(os.environ["APP_PORT"])), Handler).serve_forever()
"""
CALLER = """
import os, signal, time, urllib.request
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
port, other = os.environ["DAPR_HTTP_PORT"], os.environ["OTHER"]
while True:
    try:
        answer = urllib.request.urlopen(
            f"http://localhost:{port}/v1.0/invoke/{other}/method/hello", timeout=5)
        print("heard", answer.read().decode())
    except OSError as error:
        print("not yet:", error)
    time.sleep(0.5)
"""


@pytest.fixture
def ids(release: Release) -> Iterator[tuple[str, str]]:
    """Of two apps; nothing of them is in the cluster afterwards."""
    end = secrets.token_hex(3)
    found = (f"called-{end}", f"caller-{end}")
    yield found
    for app_id in found:
        kubectl("delete", "deployment,service", "-n", "default", "-l", f"app={app_id}")


def write(folder: Path, *apps: dict[str, Any]) -> Path:
    for app in apps:
        (folder / app["appID"]).mkdir()
        app.setdefault("containerImage", image_name("sidecar"))
        app |= {"appDirPath": app["appID"], "containerImagePullPolicy": "Never"}
    file = folder / "dapr.yaml"
    common = {"env": {"PYTHONUNBUFFERED": "1"}}
    file.write_text(yaml.safe_dump({"version": 1, "common": common, "apps": list(apps)}))
    return file


def called(app_id: str, **more: Any) -> dict[str, Any]:
    env = {"GREETING": "good morning"}
    return {
        "appID": app_id,
        "appPort": "8000",
        "command": ["python3", "-c", CALLED],
        "env": env,
        **more,
    }


def running(file: Path) -> Run:
    dapr = Dapr(file.parent)
    return dapr.run("-k", "-f", str(file), env={"KUBECONFIG": str(kubeconfig())})


def log(folder: Path, app_id: str, kind: str) -> str:
    (file,) = (folder / app_id / ".dapr" / "logs").glob(f"{app_id}_{kind}_*.log")
    return file.read_text()


def of_default(*ids: str) -> set[str]:
    found = names("deployments", "services", "pods", namespace="default")
    return {name for name in found if any(app_id in name for app_id in ids)}


def test_two_apps_call_each_other(ids: tuple[str, str], tmp_path: Path, until: Until) -> None:
    one, two = ids
    caller = {
        "appID": two,
        "command": ["python3", "-c", CALLER],
        "env": {"OTHER": one},
        "daprdLogDestination": "fileAndConsole",
        "appLogDestination": "console",
    }
    file = write(tmp_path, called(one, createService="true", appLogDestination="file"), caller)
    with running(file) as run:
        run.wait_line(UP, 90)
        run.wait_line(f"== APP - {two} == heard good morning")
        run.wait_line(lambda line: line.startswith(f"== DAPR - {two} == ") and "level=info" in line)
        until(lambda: "was asked for /hello\n" in log(tmp_path, one, "app"), 20, "it is logged")
        assert log(tmp_path, one, "app").startswith(f"serves {one}\n")
        for app_id in ids:
            assert f"app_id={app_id}" in log(tmp_path, app_id, "daprd")
        assert not any(f"== APP - {one}" in line for line in run.lines)
        assert not list((tmp_path / two / ".dapr" / "logs").glob("*_app_*"))
        port = get("service", one, "-n", "default")["spec"]["ports"][0]
        assert (port["port"], port["targetPort"]) == (80, 8000)

        # An app that ends is started again by the cluster, and that is said once; its log goes on.
        inside = ("exec", "-n", "default", f"deploy/{one}", "-c", one, "--", "python3", "-c")
        try_kubectl(*inside, "import urllib.request as r; r.urlopen('http://localhost:8000/die')")
        restarted = f"❌  The app {one} ended with exit code 3 (Error) and was started again"
        run.wait_line(restarted)
        until(lambda: log(tmp_path, one, "app").count("serves") == 2, 20, "its log goes on")

        done = Dapr(tmp_path)("stop", "-k", "-f", str(file), env={"KUBECONFIG": str(kubeconfig())})
        assert (done.stdout, done.stderr) == (f"✅  apps stopped successfully: {one}, {two}\n", "")
        assert run.wait_exit() == 0
    assert run.lines.count(restarted) == 1
    assert run.lines[-1] == "✅  Everything is deleted"
    until(lambda: of_default(*ids) == set(), 20, "nothing is left, Dapr's Services included")


async def test_an_image_that_is_not_there_is_said(
    ids: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = ids
    file = write(tmp_path, called(one), {"appID": two, "containerImage": "localhost/none:1"})
    async with UserClient(kubeconfig_login(kubeconfig())) as client:
        with pytest.raises(CliError) as raised:
            await run_on_cluster(client, read(str(file)).apps, Console(), ready_seconds=20.0)
    said = f'{two}: ErrImageNeverPull: Container image "localhost/none:1" is not present'
    assert said in raised.value.message
    assert f"✅  {one} is ready" in capsys.readouterr().out
    left = {name for name in of_default(*ids) if not name.endswith("-dapr")}
    assert left == set()
