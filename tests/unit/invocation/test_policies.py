"""Retries, breakers, timeouts, access control, mutual TLS and external endpoints, end to end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import trustme
from sidecars import FakeApp, MiniSidecar, Table, http_app, pair

from dapr_common.http.messages import Request, Response
from dapr_common.kube.resources import HttpEndpoint, NameValue
from dapr_common.resiliency.policies import BreakerPolicy, RetryPolicy
from dapr_common.resiliency.trip import compile_trip
from dapr_sidecar.blocks.access_control import build
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.middleware.uppercase import UppercaseMiddleware, UppercaseSettings
from dapr_sidecar.messaging.peers import Peers
from dapr_sidecar.resiliency.breaker import CircuitBreaker
from dapr_sidecar.resiliency.runner import PolicyRunner, Surroundings


def use(sidecar: MiniSidecar, runner: PolicyRunner) -> list[tuple[str, str]]:
    asked: list[tuple[str, str]] = []

    def app(app_id: str, endpoint: str) -> PolicyRunner:
        asked.append((app_id, endpoint))
        return runner

    sidecar.context.policies.app = app  # type: ignore[method-assign]
    sidecar.context.policies.has_app_target = lambda app_id: True  # type: ignore[method-assign]
    return asked


def retrying(retries: int = 3, timeout: float | None = None) -> PolicyRunner:
    policy = RetryPolicy("r", "constant", 0.0, max_retries=retries)
    return PolicyRunner("p", Surroundings(), retry=policy, timeout=timeout)


class Script:
    """Answers with one status after the other; the last one stays."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.bodies: list[bytes] = []

    async def __call__(self, request: Request) -> Response:
        self.bodies.append(await request.read())
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return Response(status, [(b"Content-Type", b"text/x")], b"answer %d" % status)


@pytest.mark.parametrize("target", ["a1", "a2"])
async def test_statuses_are_retried_and_the_last_answer_stays(target: str) -> None:
    async with pair() as (a1, a2):
        flaky = Script(500, 503, 200)
        async with http_app(a1 if target == "a1" else a2, flaky):
            asked = use(a1, retrying())
            status, _, body = await a1.call(
                "POST", f"/v1.0/invoke/{target}/method/m/x", [], b"data"
            )
            assert (status, body) == (200, b"answer 200")
            assert flaky.bodies == [b"data"] * 3
            assert asked == [(target, f"{target}:m/x")]
        dead = Script(404)
        async with http_app(a1 if target == "a1" else a2, dead):
            status, headers, body = await a1.call("GET", f"/v1.0/invoke/{target}/method/x")
            assert (status, headers[b"content-type"], body) == (404, b"text/x", b"answer 404")
            assert len(dead.bodies) == 4


async def test_streams_are_never_retried() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    async with pair() as (a1, a2):
        script = Script(500)
        async with http_app(a2, script):
            use(a1, retrying())
            status, _, answer = await a1.call("POST", "/v1.0/invoke/a2/method/x", [], body())
            assert (status, answer) == (500, b"answer 500")
            assert script.bodies == [b"once"]


@pytest.mark.parametrize("target", ["a1", "a2"])
async def test_timeouts_cut_each_attempt(target: str) -> None:
    async def hang(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with pair() as (a1, a2), http_app(a1 if target == "a1" else a2, hang) as app:
        use(a1, retrying(2, timeout=0.5))
        status, _, body = await a1.call("GET", f"/v1.0/invoke/{target}/method/x")
        assert status == 500
        message = orjson.loads(body)["message"]
        assert message == f"failed to invoke, id: {target}, err: context deadline exceeded"
        assert len(app.requests) == 3


async def test_an_open_breaker_answers_at_once() -> None:
    breaker = CircuitBreaker("b", BreakerPolicy("b", trip=compile_trip("consecutiveFailures > 1")))
    async with pair() as (a1, _):
        script = Script(500)
        async with http_app(a1, script):
            use(a1, PolicyRunner("p", Surroundings(), breaker=breaker))
            answers = [await a1.call("GET", "/v1.0/invoke/a1/method/x") for _ in range(3)]
            assert [status for status, _, _ in answers] == [500] * 3
            assert answers[1][2] == b"answer 500"
            message = orjson.loads(answers[2][2])["message"]
            assert message == "failed to invoke, id: a1, err: circuit breaker is open"
            assert len(script.bodies) == 2


# --- access control and identities --------------------------------------------------------------


async def test_denied_calls_are_403_and_never_reach_the_app() -> None:
    rules = build({"defaultAction": "deny", "trustDomain": "public"}, http=True)
    async with pair(rules) as (a1, a2), http_app(a2) as app:
        status, _, body = await a1.call("GET", "/v1.0/invoke/a2/method/x")
        assert status == 403
        assert orjson.loads(body)["message"] == (
            "failed to invoke, id: a2, err: rpc error: code = PermissionDenied desc = "
            "access control policy has denied access to id:  operation: x verb: GET"
        )
        assert app.requests == []
        status, _, _ = await a2.call("GET", "/v1.0/invoke/a2/method/x")
        assert status == 200


class Security:
    """Mutual TLS of a test: accepts one app id."""

    def __init__(self, ca: trustme.CA, allowed: str) -> None:
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        ca.configure_trust(self._context)
        self._context.set_alpn_protocols(["h2"])
        self._allowed = allowed

    def client_context(self) -> ssl.SSLContext:
        return self._context

    def verify(self, peer: ssl.SSLObject, namespace: str, app_id: str) -> None:
        if app_id != self._allowed:
            raise ssl.SSLError(f"unexpected ID {app_id}")


async def test_the_peer_must_be_who_was_called() -> None:
    ca = trustme.CA()
    async with pair() as (a1, a2), http_app(a2):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("x.example").configure_cert(tls)
        tls.set_alpn_protocols(["h2"])
        seen: list[str] = []
        port = await a2.internal.server.listen_tcp(
            "127.0.0.1", 0, ssl=tls, identify=lambda peer: seen.append("asked") or "spiffe://x"
        )
        table = a1.resolver
        assert isinstance(table, Table)
        table.addresses = {"a2": f"127.0.0.1:{port}", "other": f"127.0.0.1:{port}"}
        a1.block.peers = a1.block._remote._peers = Peers(Security(ca, "a2"))
        assert (await a1.call("GET", "/v1.0/invoke/a2/method/x"))[0] == 200
        assert seen == ["asked"]
        use(a1, PolicyRunner("p", Surroundings()))
        # The same address under another name is not the same connection.
        status, _, body = await a1.call("GET", "/v1.0/invoke/other/method/x")
        assert status == 500
        assert b"unexpected ID" in body


# --- external endpoints -------------------------------------------------------------------------


async def external() -> FakeApp:
    async def serve(request: Request) -> Response:
        if request.path == b"/base/again":
            return Response(302, [(b"Location", b"/base/x?r=1")])
        return Response(
            200, [(b"X-Path", request.path + b"?" + request.query)], await request.read()
        )

    app = FakeApp(serve)
    app.port = await app.server.listen_tcp("127.0.0.1", 0)
    return app


async def test_named_endpoints_and_urls() -> None:
    app = await external()
    async with pair() as (a1, _):
        a1.context.components.http_endpoints["outside"] = HttpEndpoint(
            "outside",
            f"http://127.0.0.1:{app.port}/base/",
            (NameValue("X-Fixed", "always"), NameValue("x-mine", "theirs")),
        )
        status, headers, body = await a1.call(
            "POST", "/v1.0/invoke/outside/method/x?q=1", [(b"X-Mine", b"m")], b"data"
        )
        assert (status, headers[b"x-path"], body) == (200, b"/base/x?q=1", b"data")
        assert app.header(b"x-fixed") == [b"always"]
        assert app.header(b"x-mine") == [b"theirs"]
        for absent in (b"dapr-caller-app-id", b"x-forwarded-for", b"forwarded"):
            assert app.header(absent) == []
        status, headers, _ = await a1.call("GET", "/v1.0/invoke/outside/method/again")
        assert (status, headers[b"x-path"]) == (200, b"/base/x?r=1")
        url = f"http://127.0.0.1:{app.port}"
        status, headers, _ = await a1.call("GET", f"/v1.0/invoke/{url}/method/base/x?q=2")
        assert (status, headers[b"x-path"]) == (200, b"/base/x?q=2")
        # A URL is called as it is: its redirects are the caller's business.
        status, _, _ = await a1.call("GET", f"/v1.0/invoke/{url}/method/base/again")
        assert status == 302
        status, _, body = await a1.call("GET", "/v1.0/invoke/http://127.0.0.1:1/method/x")
        assert status == 500
        assert b"connection refused" in body
    await app.server.close(0)


async def test_endpoints_with_their_own_root_and_client_certificate(tmp_path: Path) -> None:
    ca, clients = trustme.CA(), trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(tls)
    clients.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    app = FakeApp()
    port = await app.server.listen_tcp("127.0.0.1", 0, ssl=tls)
    mine = clients.issue_cert("me@example.org")
    async with pair() as (a1, _):
        a1.context.components.http_endpoints["tls"] = HttpEndpoint(
            "tls",
            f"https://localhost:{port}",
            root_ca=NameValue("rootCA", ca.cert_pem.bytes().decode()),
            certificate=NameValue("c", mine.cert_chain_pems[0].bytes().decode()),
            private_key=NameValue("k", mine.private_key_pem.bytes().decode()),
        )
        status, _, body = await a1.call("POST", "/v1.0/invoke/tls/method/x", [], b"hello")
        assert (status, body) == (200, b"hello")
        status, _, body = await a1.call("GET", f"/v1.0/invoke/https://localhost:{port}/method/x")
        assert status == 500
        assert b"certificate verify failed" in body
    await app.server.close(0)


@pytest.mark.parametrize("outside", [False, True])
async def test_app_middlewares_wrap_calls(outside: bool) -> None:
    app = await external()
    async with pair() as (a1, _), http_app(a1) as own:
        a1.context.components.http_endpoints["outside"] = HttpEndpoint(
            "outside", f"http://127.0.0.1:{app.port}"
        )
        upper = UppercaseMiddleware(UppercaseSettings(), ComponentContext("up", "x"))
        a1.block.set_app_middlewares([upper.wrap])
        target = "outside" if outside else "a1"
        status, _, body = await a1.call(
            "POST", f"/v1.0/invoke/{target}/method/x?q=1", [(b"Content-Type", b"text/x")], b"abc"
        )
        assert (status, body) == (200, b"ABC")
        asked = (app if outside else own).requests[0]
        assert (asked.path, asked.query) == (b"/x", b"q=1")
        assert asked.header(b"content-type") == b"text/x"
    await app.server.close(0)
