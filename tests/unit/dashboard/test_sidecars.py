"""Asking many sidecars, of which some hang, and answers that no sidecar would give."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer
from harness.html_page import Page, assert_accessible
from hypothesis import given, settings
from hypothesis import strategies as st

from dapr_common.http.messages import Request, Response
from dapr_common.http.server import HttpServer
from dapr_dashboard import metadata, sidecars
from dapr_dashboard.facts import Facts
from dapr_dashboard.history import History
from dapr_dashboard.model import App, ControlPlane, Live, Place, Resources, SpecFact
from dapr_dashboard.server import Dashboard
from dapr_dashboard.sidecars import Sidecars
from dapr_dashboard.views import apps as app_views
from dapr_dashboard.views import components, plane, policies
from dapr_dashboard.views.page import PAGES, Shell

METADATA = {
    "runtimeVersion": "1.18.3",
    "components": [
        {"name": f"component-{number}", "type": "state.redis", "version": "v1"}
        for number in range(10)
    ],
    "extended": {"appCommand": "run"},
}
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Many:
    """Applications at these places."""

    title, platform = "many", "standalone"

    def __init__(self, places: list[Place]) -> None:
        self.found = [app(number, place) for number, place in enumerate(places)]

    async def apps(self) -> list[App]:
        return self.found

    async def resources(self) -> Resources:
        return Resources()

    async def control_plane(self) -> ControlPlane:
        return ControlPlane()

    def logs(self, app: App) -> tuple[str, ...]:
        return ()


def app(number: int, place: Place, live: Live | None = None) -> App:
    created = datetime(2026, 1, 1, tzinfo=UTC)
    return App(
        namespace="local",
        name=str(number),
        app_id=f"app-{number}",
        created=created,
        place=place,
        live=live or Live(),
    )


@asynccontextmanager
async def answering(body: bytes, status: int = 200) -> AsyncIterator[Place]:
    """What each sidecar of a place says."""

    async def handle(request: Request) -> Response:
        if request.path == b"/v1.0/healthz":
            return Response(204, [], b"")
        return Response(status, [], body if request.path == b"/v1.0/metadata" else b"up 1\n")

    http = HttpServer(handle, max_body_bytes=None, max_header_bytes=65536)
    url = f"http://127.0.0.1:{await http.listen_tcp('127.0.0.1', 0)}"
    try:
        yield Place(api=url, metrics=f"{url}/")
    finally:
        await http.close(0)


@asynccontextmanager
async def hanging() -> AsyncIterator[Place]:
    """Connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield Place(api=url, metrics=f"{url}/")


@pytest.mark.slow
async def test_two_hundred_of_which_half_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page is there after its deadline, with all that do answer."""
    # Long enough for those that answer: all of them, and who asks, are in this process.
    monkeypatch.setattr(sidecars, "_SECONDS", 5.0)
    monkeypatch.setattr(sidecars, "_PAGE_SECONDS", 40.0)
    async with answering(json.dumps(METADATA).encode()) as good, hanging() as bad:
        facts = Facts(cast(Any, Many([bad, good] * 100)), Sidecars())
        application = Dashboard(facts, History(facts.source, facts.sidecars, 5.0)).application()
        async with TestClient(TestServer(application)) as client:
            text = await (await client.get("/")).text()
            assert text.count(" ready</span>") == 100
            assert "no answer within 5 s" in text
            monkeypatch.setattr(sidecars, "_SECONDS", 0.6)
            await facts.sidecars.close()  # its connections have the patience of before
            monkeypatch.setattr(sidecars, "_PAGE_SECONDS", 1.5)
            for path in (*PAGES, "/api/instances/All"):
                async with asyncio.timeout(20):
                    assert await (await client.get(path)).text(), path
        await facts.sidecars.close()


async def test_those_not_asked_in_time_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecars, "_SECONDS", 0.2)
    monkeypatch.setattr(sidecars, "_PAGE_SECONDS", 2.0)
    monkeypatch.setattr(sidecars, "_AT_ONCE", 1)
    async with hanging() as place:
        asker = Sidecars()
        found = await asker.with_live([app(number, place) for number in range(20)])
        assert found[0].live.problem == "no answer within 0.2 s"
        assert found[-1].live.problem == "not asked: others took too long to answer"
        await asker.close()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"\xff", b'{"id": "other"}'])
async def test_answers_that_are_no_metadata(body: bytes) -> None:
    async with answering(body) as place:
        asker = Sidecars()
        (found,) = await asker.with_live([app(0, place)])
        assert not found.live.metadata
        assert found.live.state
        await asker.close()


async def test_what_a_sidecar_says_of_a_failure_has_no_secret() -> None:
    body = json.dumps({"message": "dial redis://:topsecret@host"}).encode()
    async with answering(body, 500) as place:
        asker = Sidecars()
        (found,) = await asker.with_live([app(0, place)])
        assert found.live.problem == "metadata: dial redis://••••••@host"
        await asker.close()


NAMES = (
    *("id", "components", "componentHealth", "subscriptions", "rules", "actorRuntime", "extended"),
    *("activeActors", "count", "type", "name", "capabilities", "appConnectionProperties", "port"),
    *("enabledFeatures", "resiliencies", "runtimeStatus", "placement", "lastError", "actors"),
    *("policies", "targets", "components", "outbound", "timeout", "retry", "circuitBreaker"),
    *("accessControl", "operations", "httpVerb", "secrets", "scopes", "httpPipeline", "handlers"),
    *("tracing", "metrics", "mtls", "api", "allowed", "timeouts", "samplingRate"),
)
ANYTHING: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "<b>", "a b"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)
ANY_OBJECT = st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=8)


@settings(max_examples=150, deadline=None)
@given(ANY_OBJECT)
def test_metadata_of_any_shape_spoils_no_page(body: dict[str, Any]) -> None:
    one = app(0, Place(), Live("good", "ready", metadata.shown(body)))
    shell = Shell(path="/", where="here", now=NOW)
    for page in (
        app_views.overview(shell, [one]),
        app_views.detail(shell, one, ()),
        plane.actors(shell, [one]),
        components.page(shell, Resources(), [one]),
    ):
        assert_accessible(Page(page))


@settings(max_examples=150, deadline=None)
@given(ANY_OBJECT)
def test_specs_of_any_shape_spoil_no_page(spec: dict[str, Any]) -> None:
    fact = SpecFact(namespace="local", name="a <b>", spec=spec)
    found = Resources(configurations=[fact], resiliencies=[fact])
    shell = Shell(path="/", where="here", now=NOW)
    for page in (
        policies.configurations(shell, found, []),
        policies.resiliency(shell, found, []),
    ):
        assert_accessible(Page(page))


def test_names_of_components_are_anchors_that_lead_to_them() -> None:
    """Whatever they are called: two ids of a page are never the same, and none has a blank."""
    names = ["content", "a b", "<script>", "ünïcödé", 'x"y', "component-a"]
    listed = [{"name": name, "type": "state.in-memory"} for name in names]
    one = app(0, Place(), Live("good", "ready", metadata.shown({"components": listed})))
    shell = Shell(path="/components", where="here", now=NOW)
    page = Page(components.page(shell, Resources(), [one]))
    assert_accessible(page)
    ids = {each.attributes.get("id") for each in page.root.all("h2")}
    targets = {link[1:] for link in page.links if link.startswith("#component")}
    assert targets == ids
    assert len(ids) == len(names)
    assert not any(" " in str(each) for each in ids)
