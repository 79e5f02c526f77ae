"""The pages of a machine, over real sidecars, read as a reader without eyes reads them."""

from __future__ import annotations

import secrets
import signal
from pathlib import Path

import pytest
from harness.actor_hosts import host, sqlite
from harness.app import RecordingApp
from harness.authorities import brought
from harness.dashboard import Dashboard
from harness.http_call import call
from harness.placement_process import Placement
from harness.sidecar import Manifest, Sidecar, component, resource

from dapr_dashboard.views.page import PAGES


def broken_store(name: str, password: str) -> Manifest:
    """Nobody listens there, and the sidecar goes on without it."""
    manifest = component(name, "state.redis", redisHost="127.0.0.1:9", redisPassword=password)
    manifest["spec"]["ignoreErrors"] = True
    return manifest


def test_an_app_and_its_sidecar(dashboard: Dashboard, app_id: str) -> None:
    subscription = resource(
        "Subscription",
        "orders",
        {"pubsubname": "bus", "topic": "orders", "routes": {"default": "/take"}},
        version="v2alpha1",
    )
    resources = [
        component("memory", "state.in-memory"),
        component("bus", "pubsub.in-memory"),
        subscription,
    ]
    with (
        RecordingApp({}) as app,
        Sidecar(app_id, resources=resources, app_port=app.port) as sidecar,
    ):
        row = dashboard.page("/").row("Applications and their sidecars", app_id)
        assert row["Sidecar"] == "● ready"
        assert row["Namespace"] == "local"
        assert row["Instance"] == str(sidecar.process.pid)
        assert row["App port"] == str(app.port)
        assert row["Runtime"] == "1.18.3"
        assert row["Age"].endswith(("s", "m"))

        page = dashboard.page(dashboard.app(app_id))
        loaded = page.row("Components of this sidecar", "memory")
        assert (loaded["Type"], loaded["Version"]) == ("state.in-memory", "v1")
        assert loaded["State"].startswith("● ready since ")
        assert "ETAG" in loaded["Capabilities"]
        (route,) = page.table("Subscriptions")
        assert (route["Topic"], route["Routes"]) == ("orders", "/take")
        for fact in (str(sidecar.http_port), str(sidecar.grpc_port), str(sidecar.resources_path)):
            assert fact in page.text
    assert app_id not in dashboard.page("/").text


def test_a_component_that_fails_says_why_and_no_page_says_a_secret(
    dashboard: Dashboard, app_id: str
) -> None:
    secret, name = f"topsecret-{secrets.token_hex(8)}", f"store-{app_id}"
    own = component("own-secrets", "secretstores.local.env")
    referring = component(f"ref-{app_id}", "state.in-memory")
    referring["spec"]["metadata"] = [
        {"name": "anything", "secretKeyRef": {"name": "OWN_SECRET", "key": "OWN_SECRET"}}
    ]
    referring["auth"] = {"secretStore": "own-secrets"}
    config = {
        "tracing": {"samplingRate": "0", "otel": {"headers": [{"name": "x", "value": secret}]}}
    }
    with Sidecar(
        app_id,
        resources=[own, referring, broken_store(name, secret)],
        config=config,
        env={"DAPR_API_TOKEN": secret, "OWN_SECRET": secret, "APP_API_TOKEN": secret},
    ) as sidecar:
        call(
            sidecar.http_port,
            "PUT",
            "/v1.0/metadata/appCommand",
            f"run --db-password {secret}".encode(),
            {"dapr-api-token": secret},
        )
        row = dashboard.page("/").row("Applications and their sidecars", app_id)
        assert row["Sidecar"] == "▲ ready, components are not"
        # The sidecar's token is known to who may read its environment.
        assert row["Problem"] == f"{name} is failing"

        page = dashboard.page("/components")
        own_page = dashboard.page(dashboard.app(app_id))
        told = own_page.row("Components of this sidecar", name)
        assert told["State"].startswith("✖ failing since ")
        assert "127.0.0.1:9" in told["Last error"]
        shown = page.row("All components", name)
        assert shown["Type"] == "state.redis"
        assert shown["Age"].endswith(("s", "m"))
        assert f"{app_id} ✖ failing" in shown["Sidecars"]
        assert "secret OWN_SECRET/OWN_SECRET of own-secrets" in page.text

        pages = dict(dashboard.crawl(app=dashboard.app(app_id)))
        assert {*PAGES, dashboard.app(app_id)} <= set(pages)
        assert [path for path, page in pages.items() if secret in page.source] == []
        assert secret not in dashboard.log


def test_breakers_are_live(dashboard: Dashboard, app_id: str) -> None:
    binding = component("web", "bindings.http", url="http://127.0.0.1:9")
    policies = {
        "circuitBreakers": {"fuse": {"timeout": "5m", "trip": "consecutiveFailures >= 2"}},
        "timeouts": {"short": "2s"},
    }
    targets = {"components": {"web": {"outbound": {"circuitBreaker": "fuse", "timeout": "short"}}}}
    resiliency = resource("Resiliency", app_id, {"policies": policies, "targets": targets})
    with Sidecar(app_id, resources=[binding, resiliency]) as sidecar:

        def fail() -> None:
            answer = call(sidecar.http_port, "POST", "/v1.0/bindings/web", {"operation": "get"})
            assert answer.status == 500

        def state() -> str:
            rows = dashboard.page("/resiliency").table("Circuit breakers now")
            (row,) = (row for row in rows if row["App"] == app_id)
            assert (row["Resiliency"], row["Direction"]) == (app_id, "outbound")
            return row["State"]

        fail()
        assert state() == "● closed"
        for _ in range(3):
            fail()
        assert state() == "✖ open"
        rows = dashboard.page("/resiliency").table(f"Targets of {app_id}")
        assert [(row["Target"], row["Timeout"], row["Circuit breaker"]) for row in rows] == [
            ("components web", "short (2s)", "fuse (timeout 5m, trip consecutiveFailures >= 2)")
        ]


def test_configurations_with_the_policies_they_carry(dashboard: Dashboard, app_id: str) -> None:
    policy = {
        "appId": f"caller-of-{app_id}",
        "defaultAction": "deny",
        "trustDomain": "public",
        "namespace": "default",
        "operations": [{"name": "/pay", "httpVerb": ["POST"], "action": "allow"}],
    }
    config = {
        "tracing": {"samplingRate": "0.5"},
        "accessControl": {"defaultAction": "deny", "trustDomain": "public", "policies": [policy]},
    }
    with Sidecar(app_id, config=config):
        page = dashboard.page("/configurations")
        (row,) = (row for row in page.table("All configurations") if row["Used by"] == app_id)
        assert (row["Name"], row["Tracing"]) == ("config", "rate 0.5")
        assert row["Access control"] == "deny by default, 1 app"
        assert f"caller-of-{app_id} default public deny POST /pay allow" in page.text


def test_actors_and_the_placement_they_know(dashboard: Dashboard, tmp_path: Path) -> None:
    kind = f"Kind{secrets.token_hex(4)}"
    with (
        Placement() as placement,
        host(
            sqlite(tmp_path),
            f"--placement-host-address={placement.address}",
            config=f'{{"entities":["{kind}"]}}',
        ) as one,
    ):
        for number in range(3):
            assert one.call("POST", f"/v1.0/actors/{kind}/{number}/method/hi").status == 200
        page = dashboard.page("/actors")
        (row,) = (
            row for row in page.table("Hosts") if row["Instance"] == str(one.sidecar.process.pid)
        )
        assert (row["Host"], row["Placement"]) == ("● ready", "● placement: connected")
        assert row["Active actors"] == "3"
        assert page.row("Types", kind)["Active"] == "3"
        services = dashboard.page("/controlplane").table("Services")
        (service,) = (each for each in services if each["Where"] == placement.address)
        assert (service["Service"], service["State"][:9]) == ("Placement", "● answers")


def test_certificates_that_end(tmp_path: Path) -> None:
    folder = tmp_path / ".dapr" / "certs"
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(brought().anchors_pem)
    (folder / "issuer.key").write_text("topsecret")
    with Dashboard(home=tmp_path) as dashboard:
        page = dashboard.page("/controlplane")
        row = page.row("Certificates", "Root certificate")
        assert row["Where"] == str(folder / "ca.crt")
        assert "topsecret" not in page.source


def test_a_sidecar_that_hangs_holds_no_page_up(dashboard: Dashboard, app_id: str) -> None:
    with Sidecar(app_id) as sidecar:
        path = dashboard.app(app_id)
        sidecar.signal(signal.SIGSTOP)
        try:
            row = dashboard.page("/").row("Applications and their sidecars", app_id)
            page = dashboard.page(path)
        finally:
            sidecar.signal(signal.SIGCONT)
        assert row["Sidecar"] == "✖ does not answer"
        assert row["Problem"] == "no answer within 4 s"
        assert "no answer within 4 s" in page.text


def test_addresses_of_daprs_own_dashboard_lead_to_the_same_here(
    dashboard: Dashboard, app_id: str
) -> None:
    with Sidecar(app_id, resources=[component(f"s {app_id}", "state.in-memory")], config={}):

        def led(path: str) -> str:
            answer = dashboard.get(path)
            assert answer.status == 302, (path, answer.status)
            return answer.headers["location"]

        assert led(f"/overview/{app_id}") == dashboard.app(app_id)
        page, fragment = led(f"/components/s%20{app_id}").split("#")
        assert f'id="{fragment}"' in dashboard.page(page).source
        page, fragment = led("/configurations/config").split("#")
        assert f'id="{fragment}"' in dashboard.page(page).source
    for path in ("/overview/nobody", "/components/nothing", "/configurations/nothing"):
        assert "there is no" in dashboard.page(path, status=404).text


def test_an_app_that_is_gone_and_pages_that_never_were(dashboard: Dashboard) -> None:
    page = dashboard.page("/apps/local/1", status=404)
    assert "there is no app instance 1 in local any more" in page.text
    assert dashboard.page("/traces/none", status=404).root.all("h1")[0].text == "Not Found"
    dashboard.page("/nope", status=404)


@pytest.mark.parametrize("host_name", ["evil.example", "localhost.evil.example:80"])
def test_a_name_that_was_made_to_lead_here_gets_nothing(
    dashboard: Dashboard, host_name: str
) -> None:
    for path in ("/", "/components", "/static/style.css", "/nope"):
        answer = dashboard.get(path, host=host_name)
        assert answer.status == 421
        assert b"Dapr dashboard" not in answer.body


def test_answers_cannot_be_used_by_other_pages(dashboard: Dashboard) -> None:
    for path in ("/", "/nope", "/static/style.css"):
        headers = dashboard.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
    for method in ("POST", "PUT", "DELETE"):
        assert call(dashboard.port, method, "/", b"").status == 405
