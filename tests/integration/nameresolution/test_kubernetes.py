"""Kubernetes: names looked up at a real DNS server, and sidecars that dial what comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.app import RecordingApp
from harness.dns_server import run_in_own_network
from harness.http_call import call
from harness.sidecar import Sidecar


@pytest.mark.slow
def test_names_are_looked_up_at_a_dns_server(tmp_path: Path) -> None:
    run_in_own_network(Path(__file__).with_name("kubernetes_dns.py"), tmp_path)


def test_a_sidecar_dials_what_the_template_says() -> None:
    routes = {"GET /m": {"status": 200, "body": "hello"}}
    with RecordingApp(routes) as app, Sidecar(app_port=app.port) as callee:
        where = {"template": f"localhost:{callee.internal_port}"}
        config = {"nameResolution": {"component": "kubernetes", "configuration": where}}
        with Sidecar(config=config) as caller:
            caller.wait_line("Initialized name resolution to kubernetes")
            path = f"/v1.0/invoke/{callee.app_id}/method/m"
            answer = call(caller.http_port, "GET", path)
            assert (answer.status, answer.body) == (200, b"hello")


@pytest.mark.parametrize(
    ("chosen", "text"),
    [
        ({"component": "nope"}, "couldn't find name resolver nameresolution.nope/v1"),
        (
            {"component": "kubernetes", "configuration": {"template": "{{.Nope}}"}},
            "'{{.Nope}}' is not supported",
        ),
    ],
)
def test_a_resolver_that_does_not_start_is_told(chosen: dict[str, object], text: str) -> None:
    with Sidecar(config={"nameResolution": chosen}) as sidecar:
        line = sidecar.wait_line("name resolution could not be started, invocation will fail")
        assert text in line
        answer = call(sidecar.http_port, "GET", "/v1.0/invoke/other/method/m")
        assert answer.status == 500
        assert b"name resolver not initialized" in answer.body
        assert sidecar.get_status("/v1.0/healthz") == 204


def test_unknown_settings_are_told() -> None:
    chosen = {"component": "kubernetes", "configuration": {"clusterDomian": "x"}}
    with Sidecar(config={"nameResolution": chosen}) as sidecar:
        line = sidecar.wait_line("'clusterdomian' is not known")
        assert "did you mean 'clusterDomain'?" in line
