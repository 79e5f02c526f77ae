"""Sidecars with identities from a real sentry: who talks to whom, and what is said when not."""

from __future__ import annotations

import signal
import socket
import sqlite3
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509
from harness.authorities import Authority
from harness.http_call import call
from harness.identified import identified
from harness.programs import free_port
from harness.raw_app import RawApp, RawRequest
from harness.sentry import Sentry
from harness.sidecar import Sidecar
from harness.sidecar_pair import names_in

from dapr_common.security.x509 import spiffe_id, write_certificates


@pytest.fixture(scope="module")
def sentry() -> Iterator[Sentry]:
    with Sentry() as running:
        yield running


@pytest.fixture
def app() -> Iterator[RawApp]:
    with RawApp() as running:
        yield running


def invoke(front: Sidecar, target: str) -> tuple[int, str]:
    answer = call(front.http_port, "GET", f"/v1.0/invoke/{target}/method/hi")
    return answer.status, answer.json["message"] if answer.body else ""


def test_two_sidecars_talk_and_know_each_other(sentry: Sentry, app: RawApp, tmp_path: Path) -> None:
    config = names_in(tmp_path) | {
        "accessControl": {
            "defaultAction": "deny",
            "policies": [
                {
                    "appId": "mtls-front",
                    "namespace": "default",
                    "trustDomain": "public",
                    "defaultAction": "allow",
                }
            ],
        }
    }
    with (
        identified(sentry, "mtls-front", config=names_in(tmp_path)) as front,
        identified(sentry, "mtls-other", config=names_in(tmp_path)) as other,
        identified(sentry, "mtls-back", app_port=app.port, config=config) as back,
    ):
        assert invoke(front, "mtls-back")[0] == 200
        status, text = invoke(other, "mtls-back")
        assert status == 403
        assert "id: spiffe://public/ns/default/mtls-other operation: hi verb: GET" in text
        for sidecar in (front, other, back):
            metrics = call(sidecar.metrics_port, "GET", "/").body.decode()
            counted = f'dapr_runtime_mtls_init_total{{app_id="{sidecar.app_id}"}} 1'
            assert counted in metrics


def test_the_internal_port_shows_its_identity_and_asks_for_one(
    sentry: Sentry, app: RawApp, tmp_path: Path
) -> None:
    with identified(sentry, "mtls-shown", app_port=app.port, config=names_in(tmp_path)) as sidecar:
        with (
            _handshake(sidecar.internal_port, sentry.anchors_pem.decode()) as anonymous,
            pytest.raises(ssl.SSLError, match="certificate required"),
        ):
            anonymous.recv(1)
        # OpenSSL's own client sees what any peer sees.
        answer = subprocess.run(
            [
                "openssl", "s_client", "-connect", f"127.0.0.1:{sidecar.internal_port}",
                "-alpn", "h2", "-showcerts", "-CAfile", sentry.credentials / "ca.crt",
            ],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert "Verification: OK" in answer.stdout
    assert "No client certificate CA names sent" in answer.stdout
    begin = answer.stdout.index("-----BEGIN CERTIFICATE-----")
    leaf = x509.load_pem_x509_certificate(answer.stdout[begin:].encode())
    assert str(spiffe_id(leaf)) == "spiffe://public/ns/default/mtls-shown"
    assert answer.stdout.count("-----BEGIN CERTIFICATE-----") >= 2  # and its issuer


def calls_of(app: RawApp) -> list[RawRequest]:
    """Without what sidecars ask an app on their own."""
    return [seen for seen in app.seen if seen.path == "/hi"]


def _handshake(port: int, anchors: str) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=anchors)
    connection = socket.create_connection(("127.0.0.1", port), 5)
    return context.wrap_socket(connection)


def test_a_name_that_leads_to_another_app_is_refused(
    sentry: Sentry, app: RawApp, tmp_path: Path
) -> None:
    """Whatever the resolver says, a call reaches only the app that was asked for."""
    config = names_in(tmp_path)
    with (
        identified(sentry, "mtls-real", config=config, app_port=app.port) as real,
        identified(sentry, "mtls-asks", config=config) as asks,
    ):
        assert invoke(asks, "mtls-real")[0] == 200
        with closing(sqlite3.connect(tmp_path / "names.db")) as names, names:
            lie = ("x", f"localhost:{real.internal_port}", "mtls-fake", "", time.time() + 60)
            names.execute("INSERT INTO hosts VALUES (?, ?, ?, ?, ?)", lie)
        status, text = invoke(asks, "mtls-fake")
        assert status == 500
        assert 'unexpected ID "spiffe://public/ns/default/mtls-real"' in text
        # mTLS settles what the resolver does not look at.
        status, text = invoke(asks, "mtls-real.elsewhere")
        assert 'expected the path "/ns/elsewhere/mtls-real"' in text
    assert len(calls_of(app)) == 1


def test_plaintext_and_mutual_tls_do_not_mix(sentry: Sentry, app: RawApp, tmp_path: Path) -> None:
    with (
        identified(sentry, "mtls-safe", app_port=app.port, config=names_in(tmp_path)) as safe,
        Sidecar("mtls-plain", config=names_in(tmp_path), app_port=app.port) as plain,
    ):
        assert invoke(plain, "mtls-safe")[0] == 500
        assert invoke(safe, "mtls-plain")[0] == 500
    assert not calls_of(app)


def test_namespaces_are_part_of_the_identity(sentry: Sentry, app: RawApp, tmp_path: Path) -> None:
    config = names_in(tmp_path)
    with (
        identified(sentry, "mtls-a", namespace="one", config=config) as front,
        identified(sentry, "mtls-b", namespace="two", config=config, app_port=app.port),
    ):
        status, text = invoke(front, "mtls-b")
        assert status == 500
        assert 'expected the path "/ns/one/mtls-b"' in text
        assert invoke(front, "mtls-b.two")[0] == 200


def test_without_sentry_a_sidecar_waits_and_says_so(sentry: Sentry) -> None:
    port = free_port()
    with (
        Sidecar(
            "mtls-waits",
            flags=["--enable-mtls", f"--sentry-address=127.0.0.1:{port}"],
            env={"DAPR_TRUST_ANCHORS": sentry.anchors_pem.decode()},
            ready="",
        ) as sidecar,
    ):
        line = sidecar.wait_line("cannot be reached, trying again")
        assert f"sentry at 127.0.0.1:{port}" in line


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--control-plane-trust-domain=localhost"], "unexpected SPIFFE ID"),
        (["--control-plane-namespace=default"], "trust domain and namespace"),
    ],
)
def test_a_wrong_sentry_ends_the_start(sentry: Sentry, flags: list[str], text: str) -> None:
    sidecar = identified(sentry, "mtls-wrong", flags=flags, exit_code=1)
    sidecar.start()
    assert sidecar.wait_exit() == 1
    assert "failed to retrieve the initial identity" in sidecar.log
    assert text in sidecar.log


def test_another_root_ends_the_start(sentry: Sentry, tmp_path: Path) -> None:
    anchors = write_certificates([Authority.root().certificate]).decode()
    sidecar = identified(sentry, "mtls-root", env={"DAPR_TRUST_ANCHORS": anchors}, exit_code=1)
    sidecar.start()
    assert sidecar.wait_exit() == 1
    assert "certificate verify failed" in sidecar.log


@pytest.mark.parametrize(
    ("env", "flags", "text"),
    [
        ({"DAPR_TRUST_ANCHORS": ""}, [], "trust anchors are required: set DAPR_TRUST_ANCHORS"),
        ({"DAPR_TRUST_ANCHORS": "nothing"}, [], "DAPR_TRUST_ANCHORS cannot be used"),
        ({}, ["--sentry-address="], "give its host:port with --sentry-address"),
        ({}, ["--control-plane-trust-domain=A B"], "--control-plane-trust-domain and"),
        ({"DAPR_SENTRY_TOKEN_FILE": ""}, [], "DAPR_SENTRY_TOKEN_FILE is empty"),
        ({"DAPR_SENTRY_TOKEN_FILE": "/proc/nowhere"}, [], "cannot be read from /proc/nowhere"),
    ],
)
def test_settings_that_cannot_be_used(
    sentry: Sentry, env: dict[str, str], flags: list[str], text: str
) -> None:
    sidecar = identified(sentry, "mtls-set", env=env, flags=flags, exit_code=1)
    sidecar.start()
    assert sidecar.wait_exit() == 1
    assert text in sidecar.log


def test_starting_over_keeps_the_identity(sentry: Sentry, app: RawApp, tmp_path: Path) -> None:
    config = names_in(tmp_path)
    with (
        identified(sentry, "mtls-one", config=config) as front,
        identified(sentry, "mtls-two", config=config, app_port=app.port) as back,
    ):
        assert invoke(front, "mtls-two")[0] == 200
        back.signal(signal.SIGHUP)
        back.wait_lines("dapr initialized", 2)
        assert invoke(front, "mtls-two")[0] == 200
