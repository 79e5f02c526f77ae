"""``dapr init --mtls``: apps of ``dapr run`` speak mutual TLS, on a sentry of a port of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.authorities import now
from harness.cli import UP, Dapr, Run, app_command
from harness.programs import accepts_connections, free_port
from harness.sentry import Sentry

from dapr_cli.authority_files import load
from dapr_cli.console import Console
from dapr_cli.install import Install
from dapr_cli.local_placement import LocalPlacement
from dapr_cli.local_sentry import LocalSentry
from dapr_cli.presented import presented
from dapr_cli.processes import arguments_of, pids_of
from dapr_common.security.x509 import spiffe_id, verify_chain

ROUTES: dict[str, Any] = {"POST /who": {"status": 200, "json": {"ok": True}}}


@pytest.fixture
def dapr(tmp_path: Path) -> Iterator[Dapr]:
    cli = Dapr(tmp_path)
    done = cli("init", "--mtls")
    assert (done.returncode, done.stderr) == (0, "")
    yield cli
    cli.assert_nothing_left()
    for pid in pids_of(install(cli).sentry):
        os.kill(pid, signal.SIGKILL)


def install(dapr: Dapr) -> Install:
    return Install(dapr.home / ".dapr")


async def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.05)


@contextmanager
def app(dapr: Dapr, app_id: str, sentry: int, internal: int) -> Iterator[Run]:
    flags = ["--app-id", app_id, "--app-port", str(free_port()), "-I", str(internal)]
    flags += ["--placement-host-address", ""]  # its usual port is everybody's
    env = {"DAPR_SENTRY_ADDRESS": f"localhost:{sentry}"}
    with dapr.run(*flags, command=app_command(ROUTES), env=env) as run:
        run.wait_line(UP)
        run.wait_line("dapr initialized. Status: Running")
        yield run


def invoke(port: int, app_id: str) -> Any:
    url = f"http://127.0.0.1:{port}/v1.0/invoke/{app_id}/method/who"
    request = urllib.request.Request(url, b"{}", {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_two_apps_by_mutual_tls(dapr: Dapr, app_id: str) -> None:
    sentry, ports = free_port(), {f"{app_id}-{n}": free_port() for n in (1, 2)}
    first, second = ports
    anchors = load(install(dapr).certs).anchors
    with app(dapr, first, sentry, ports[first]) as one:
        with app(dapr, second, sentry, ports[second]) as other:
            assert len(pids_of(install(dapr).sentry)) == 1, "they share it"
            listed = {name: dapr.listed(name)[0]["httpPort"] for name in ports}
            assert invoke(listed[first], second) == {"ok": True}
            assert invoke(listed[second], first) == {"ok": True}
            for called, caller, run in ((second, first, other), (first, second, one)):
                line = run.wait_line(lambda text: text.startswith("{") and "/who" in text)
                assert json.loads(line)["headers"]["dapr-caller-app-id"] == caller
                leaf = presented(ports[called])
                assert leaf is not None
                assert str(spiffe_id(leaf)) == f"spiffe://public/ns/default/{called}"
                assert refuses_strangers(ports[called])
            assert no_findings(dapr, app_id)
        assert accepts_connections(sentry), "the other app still needs it"
    assert await_end(sentry), "the last one that needs it ends it"
    assert load(install(dapr).certs).anchors == anchors


def await_end(port: int, seconds: float = 30.0) -> bool:
    """It finishes by itself, after those who stopped it."""
    until = time.monotonic() + seconds
    while accepts_connections(port):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def no_findings(dapr: Dapr, app_id: str) -> bool:
    found = json.loads(dapr("check", "-o", "json").stdout)
    own = [one for one in found if app_id in one["subject"] or str(dapr.home) in one["subject"]]
    assert own == []
    return True


def refuses_strangers(port: int) -> bool:
    """Without a certificate of the authority nobody gets an answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 10) as plain,
            context.wrap_socket(plain) as encrypted,
        ):
            encrypted.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            while encrypted.recv(1000):
                return False
    except ssl.SSLError as error:
        return "CERTIFICATE_REQUIRED" in str(error).upper().replace(" ", "_")
    return True


def test_apps_of_a_run_file(dapr: Dapr, app_id: str) -> None:
    sentry, ports = free_port(), {f"{app_id}-{n}": free_port() for n in (1, 2)}
    first, second = ports
    shared = {"placementHostAddress": ""}
    apps = [
        {
            "appDirPath": ".",
            "appID": name,
            "appPort": free_port(),
            "daprInternalGRPCPort": port,
            "command": app_command(ROUTES),
        }
        for name, port in ports.items()
    ]
    file = dapr.home / "dapr.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "common": shared, "apps": apps}))
    with dapr.run("-f", str(file), "--sentry-address", f"localhost:{sentry}") as run:
        run.wait_line(UP)
        http = dapr.listed(first)[0]["httpPort"]
        assert invoke(http, second) == {"ok": True}
        leaf = presented(ports[second])
        assert leaf is not None
        assert str(spiffe_id(leaf)) == f"spiffe://public/ns/default/{second}"
    assert await_end(sentry)


@pytest.mark.parametrize("stranger", ["plain", "sentry"])
def test_a_port_where_somebody_else_is(dapr: Dapr, app_id: str, stranger: str) -> None:
    """Its certificates nobody here trusts: that is said, instead of a sidecar that waits."""
    flags = ["--app-id", app_id, "--placement-host-address", ""]
    with ExitStack() as stack:
        if stranger == "sentry":
            port = stack.enter_context(Sentry()).port
        else:
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = server.getsockname()[1]
        done = dapr("run", *flags, "--sentry-address", f"localhost:{port}")
    assert done.returncode == 1
    assert f"port {port} is used by a program that is not this installation's sentry" in done.stderr
    assert "--sentry-address localhost:PORT" in done.stderr


def test_the_authority_by_dapr_mtls(dapr: Dapr, tmp_path: Path) -> None:
    certs = install(dapr).certs
    assert oct(certs.stat().st_mode & 0o777) == "0o700"
    before = load(certs)
    verify_chain(before.chain, before.anchors, now())
    done = dapr("mtls", "expiry")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("Root certificate expires in 87")
    out = tmp_path / "out"
    done = dapr("mtls", "export", "-o", str(out))
    assert done.returncode == 0
    assert load(out).anchors == before.anchors
    done = dapr("mtls", "renew-certificate", "--valid-until", "30")
    assert done.returncode == 0, done
    after = load(certs)
    assert set(before.anchors) < set(after.anchors)
    assert dapr("init", "--mtls").returncode == 0
    assert load(certs).anchors == after.anchors, "what is there is kept"


def test_a_running_app_outlives_a_renewal(dapr: Dapr, app_id: str) -> None:
    sentry, ports = free_port(), {f"{app_id}-{n}": free_port() for n in (1, 2)}
    first, second = ports
    with app(dapr, first, sentry, ports[first]):
        before = load(install(dapr).certs)
        assert dapr("mtls", "renew-certificate").returncode == 0
        with app(dapr, second, sentry, ports[second]):
            listed = {name: dapr.listed(name)[0]["httpPort"] for name in ports}
            assert invoke(listed[first], second) == {"ok": True}
            assert invoke(listed[second], first) == {"ok": True}
    assert set(before.anchors) < set(load(install(dapr).certs).anchors)


def test_uninstall(dapr: Dapr) -> None:
    assert dapr("uninstall").returncode == 0
    assert not install(dapr).bin.exists()
    assert load(install(dapr).certs), "the authority stays"
    assert dapr("uninstall", "--all").returncode == 0
    assert not install(dapr).root.exists()


async def test_placement_is_asked_by_mutual_tls(dapr: Dapr, app_id: str) -> None:
    """And one that was started before without it makes way."""
    found, port, sentry = install(dapr), free_port(), free_port()
    address = f"localhost:{sentry}"
    plain = asyncio.create_task(LocalPlacement(found, Console(), port=port).keep())
    await until(lambda: accepts_connections(port))
    (before,) = pids_of(found.placement)
    plain.cancel()
    await asyncio.wait({plain})
    signing = LocalSentry(found, Console(), address=address)
    secured = LocalPlacement(found, Console(), port=port, sentry_address=address)
    keeping = [asyncio.create_task(one.keep()) for one in (signing, secured)]
    try:
        await signing.is_up()
        await until(lambda: bool(set(pids_of(found.placement)) - {before}))
        await until(lambda: accepts_connections(port))
        (after,) = pids_of(found.placement)
        assert "--tls-enabled" in arguments_of(after)
        await until(lambda: presented(port) is not None)
        leaf = presented(port)
        assert leaf is not None
        assert str(spiffe_id(leaf)) == "spiffe://localhost/ns/default/dapr-placement"
    finally:
        for task in keeping:
            task.cancel()
        await asyncio.wait(keeping)
        await asyncio.to_thread(dapr, "uninstall")
    await until(lambda: not pids_of(found.sentry) and not pids_of(found.placement))


def test_a_configuration_of_ones_own_is_not_overwritten(tmp_path: Path) -> None:
    dapr = Dapr(tmp_path)
    dapr.init()
    assert dapr("init", "--mtls").returncode == 0, "what init wrote makes way"
    assert dapr("init").returncode == 0
    assert "enabled: true" in install(dapr).config.read_text(), "and stays as it is then"
    install(dapr).config.write_text(
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: mine}\nspec: {}\n"
    )
    done = dapr("init", "--mtls")
    assert done.returncode == 1
    assert "mtls: {enabled: true}" in done.stderr
