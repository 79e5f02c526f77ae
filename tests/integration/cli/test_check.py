"""``dapr check`` with set-ups that are really broken: each is named, with its fix."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from harness.authorities import now
from harness.cli import Dapr
from harness.programs import Program, free_port
from harness.redis_server import DurableRedis, is_available
from harness.sidecar import Sidecar, component

from dapr_cli.authority_files import write
from dapr_common.security.authority import Life, new_bundle

Found = dict[str, str]


def check(dapr: Dapr, *arguments: str, code: int | None = None) -> list[Found]:
    """Only what is of this installation: the machine may have others' sidecars."""
    done = dapr("check", "-o", "json", *arguments)
    assert done.stderr == "", done
    found: list[Found] = json.loads(done.stdout)
    assert done.returncode == any(one["severity"] == "error" for one in found)
    assert all(one["fix"] and one["problem"] for one in found)
    if code is not None:
        assert done.returncode == code
    return found


def of(found: list[Found], subject: str) -> list[Found]:
    return [one for one in found if subject in one["subject"]]


def test_nothing_is_wrong_after_init(dapr: Dapr) -> None:
    assert of(check(dapr), str(dapr.home)) == []


def test_no_installation(tmp_path: Path) -> None:
    dapr = Dapr(tmp_path)
    (one,) = of(check(dapr, code=1), str(tmp_path))
    assert (one["severity"], one["area"]) == ("error", "installation")
    assert one["fix"] == "Run 'dapr init'."
    lines = dapr("check").stdout.splitlines()
    assert lines[0].split() == ["SEVERITY", "AREA", "SUBJECT", "PROBLEM", "FIX"]
    column = lines[0].index("FIX")
    assert any(line[column:] == "Run 'dapr init'." for line in lines[1:])
    same = yaml.safe_load(dapr("check", "-o", "yaml").stdout)
    assert one in same


def test_parts_of_the_installation_are_gone_or_stale(dapr: Dapr) -> None:
    root = dapr.home / ".dapr"
    (root / "bin" / "placement").unlink()
    daprd = root / "bin" / "daprd"
    _, _, rest = daprd.read_text().partition("\n")
    daprd.write_text(f"#!/gone/python\n{rest}")
    found = check(dapr, code=1)
    (one,) = of(found, "bin/placement")
    assert (one["problem"], one["fix"]) == ("is missing", "Run 'dapr init'.")
    (one,) = of(found, "bin/daprd")
    assert one["problem"] == "is stale: it starts /gone/python, which is gone"
    daprd.write_text("#!/bin/sh\nexec true\n")
    (one,) = of(check(dapr, code=1), "bin/daprd")
    assert "another installation" in one["problem"]


def test_resource_files_as_admission_sees_them(dapr: Dapr, tmp_path: Path) -> None:
    components = dapr.home / ".dapr" / "components"
    (components / "broken.yaml").write_text("kind: [")
    (components / "typo.yaml").write_text(
        yaml.safe_dump(component("typo", "state.redis", redisHots="localhost:6379"))
    )
    (components / "twice.yaml").write_text(yaml.safe_dump(component("pubsub", "pubsub.in-memory")))
    more = tmp_path / "more"
    more.mkdir()
    (more / "kind.yml").write_text(yaml.safe_dump(component("x", "state.reddis")))
    found = check(dapr, "--resources-path", str(more), code=1)
    (one,) = of(found, "broken.yaml")
    assert "yaml cannot be parsed" in one["problem"]
    assert any("redisHost" in one["problem"] for one in of(found, "typo.yaml"))
    (one,) = of(found, "twice.yaml")
    assert "component pubsub is in pubsub.yaml, too" in one["problem"]
    assert any("state.redis" in one["problem"] for one in of(found, "kind.yml")), found


def test_a_port_and_who_has_it(dapr: Dapr, app_id: str) -> None:
    port = free_port()  # none that the system gives to somebody else at once
    with socket.create_server(("127.0.0.1", port)):
        (one,) = of(check(dapr, "--port", str(port), code=1), str(port))
        assert one["area"] == "ports"
        assert f"is used by pid {os.getpid()}:" in one["problem"]
    assert of(check(dapr, "--port", str(port)), str(port)) == []
    with Sidecar(app_id) as sidecar:
        (one,) = of(check(dapr, "-p", str(sidecar.http_port), code=1), str(sidecar.http_port))
        assert f"the sidecar of {app_id} (pid {sidecar.process.pid})" in one["problem"]
        assert f"dapr stop {app_id}" in one["fix"]


def test_the_ports_of_a_run_file(dapr: Dapr, tmp_path: Path, app_id: str) -> None:
    free = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        apps = [
            {"appDirPath": ".", "appID": f"{app_id}-1", "daprHTTPPort": free},
            {"appDirPath": ".", "appID": f"{app_id}-2", "daprHTTPPort": free},
            {"appDirPath": ".", "appID": f"{app_id}-3", "metricsPort": taken},
        ]
        (tmp_path / "dapr.yaml").write_text(yaml.safe_dump({"version": 1, "apps": apps}))
        found = check(dapr, "-f", str(tmp_path), code=1)
    (one,) = of(found, f"{app_id}-2")
    assert one["problem"] == f"daprHTTPPort of {app_id}-1 has the same port"
    (one,) = of(found, f"{app_id}-3")
    assert f"is used by pid {os.getpid()}" in one["problem"]
    (tmp_path / "dapr.yaml").write_text("version: 1\napps: [{}]\n")
    (one,) = of(check(dapr, "-f", str(tmp_path), code=1), str(tmp_path))
    assert "'appDirPath' is required" in one["problem"]


@pytest.mark.skipif(not is_available(), reason="not here: redis-server")
def test_a_component_whose_server_is_gone(dapr: Dapr, app_id: str, tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    redis = DurableRedis(str(folder), durable=False)
    store = component("cache", "state.redis", redisHost=f"127.0.0.1:{redis.port}")
    try:
        with Sidecar(app_id, resources=[store]) as sidecar:
            assert of(check(dapr), app_id) == []
            redis.kill()
            # What a component said a second ago still holds.
            while sidecar.get_status("/v1.0/healthz?component=cache") != 500:
                time.sleep(0.05)
            (one,) = of(check(dapr, code=1), app_id)
    finally:
        redis.kill()
    assert one["area"] == "sidecars"
    assert one["problem"].startswith("component cache is failing since ")
    assert str(redis.port) in one["problem"], "the component's own error"


def test_an_app_that_does_not_listen(dapr: Dapr, app_id: str) -> None:
    port = free_port()
    with Sidecar(app_id, app_port=port, ready="healthz/outbound"):
        (one,) = of(check(dapr, code=1), app_id)
    assert one["problem"].startswith("is not healthy: dapr is not ready")
    assert f"Is the app listening on port {port}?" in one["fix"]


def test_a_sidecar_that_does_not_answer(dapr: Dapr) -> None:
    app_id, port = f"app-{secrets.token_hex(4)}", free_port()
    stuck = dapr.home / "daprd"
    stuck.write_text(f"#!{sys.executable}\nimport time\nprint('up', flush=True)\ntime.sleep(600)\n")
    stuck.chmod(0o755)
    flags = ["--app-id", app_id, "--dapr-http-port", str(port)]
    with Program([str(stuck), *flags], name="stuck", exit_code=None) as program:
        program.wait_line("up")
        (one,) = of(check(dapr, code=1), app_id)
    assert "does not answer at its HTTP port" in one["problem"]


@pytest.mark.parametrize(
    ("starts", "lasts", "severity", "area", "said"),
    [
        (timedelta(days=-2), timedelta(days=1), "error", "certificates", "has expired on"),
        (timedelta(days=-2), timedelta(days=12), "warning", "certificates", "expires in "),
        (timedelta(days=2), timedelta(days=99), "error", "clock", "later than this machine's"),
    ],
)
def test_the_authority_here(
    dapr: Dapr, starts: timedelta, lasts: timedelta, severity: str, area: str, said: str
) -> None:
    certs = dapr.home / ".dapr" / "certs"
    life = Life.of(now() + starts, lasts, timedelta(0))
    write(certs, new_bundle("localhost", "default", life))
    found = of(check(dapr), str(certs))
    assert [(one["severity"], one["area"]) for one in found] == [(severity, area)] * 2
    assert all(said in one["problem"] for one in found)
    assert {one["subject"].partition(" in ")[0] for one in found} == {
        "root certificate",
        "issuer certificate",
    }


def test_a_key_that_others_can_read(dapr: Dapr) -> None:
    certs = dapr.home / ".dapr" / "certs"
    life = Life.of(now(), timedelta(days=99), timedelta(0))
    write(certs, new_bundle("localhost", "default", life))
    (certs / "issuer.key").chmod(0o644)
    (one,) = of(check(dapr, code=1), str(certs))
    assert one["fix"] == f"chmod 600 {certs / 'issuer.key'}"
    (certs / "issuer.crt").write_text("no certificate")
    (one,) = of(check(dapr, code=1), str(certs))
    assert "issuer.crt" in one["problem"]


def test_a_clock_that_was_set_back(dapr: Dapr) -> None:
    later = (now() + timedelta(hours=3)).timestamp()
    os.utime(dapr.home / ".dapr" / "config.yaml", (later, later))
    (one,) = [one for one in check(dapr, code=1) if one["area"] == "clock"]
    assert one["problem"].startswith("the clock is 2:59:") or "3:00:" in one["problem"]


def test_flags_that_do_not_go_together(dapr: Dapr) -> None:
    done = dapr("check", "-k", "--port", "1")
    assert (done.returncode, "--port are of this machine" in done.stderr) == (255, True)
    done = subprocess.run(  # the words of the help, whole
        [sys.executable, "-m", "dapr_cli", "check", "--help"], capture_output=True, text=True
    )
    assert "The exit code is 1 when" in done.stdout
