"""The app beside the sidecar: protocols, the first questions, health checks."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from harness.app import AppProcess
from harness.http_call import acall, call
from harness.local_app import LocalApp, Seen
from harness.programs import free_port
from harness.sidecar import Sidecar, component, resource

from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import appcallback_pb2

PUBSUB = component("ps", "pubsub.in-memory")
CALLBACK = "dapr.proto.runtime.v1.AppCallback"
NODE_APP = """
const fs = require("fs");
const [kind, folder] = process.argv.slice(2);
const answer = (request, response) => {
  let body = "";
  request.on("data", (part) => (body += part));
  request.on("end", () => {
    console.log(JSON.stringify({path: request.url, body, version: request.httpVersion}));
    if (request.url === "/dapr/subscribe") {
      response.end(JSON.stringify([{pubsubname: "ps", topic: "t", route: "/t"}]));
    } else if (request.url === "/dapr/config") {
      response.statusCode = 404;
      response.end();
    } else {
      response.statusCode = request.url === "/echo" ? 201 : 200;
      response.end(request.url === "/echo" ? body : "{}");
    }
  });
};
const tls = () => ({
  key: fs.readFileSync(folder + "/key.pem"), cert: fs.readFileSync(folder + "/cert.pem"),
});
const server = {
  http: () => require("http").createServer(answer),
  https: () => require("https").createServer(tls(), answer),
  h2c: () => require("http2").createServer(answer),
}[kind]();
server.listen(Number(process.env.APP_PORT), "127.0.0.1");
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate nobody trusts."""
    folder = tmp_path_factory.mktemp("tls")
    issued = trustme.CA().issue_cert("elsewhere.example")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    (folder / "app.js").write_text(NODE_APP)
    return folder


@pytest.mark.parametrize(
    ("protocol", "version"), [("http", "1.1"), ("https", "1.1"), ("h2c", "2.0")]
)
def test_http_apps(protocol: str, version: str, certificates: Path) -> None:
    if (node := shutil.which("node")) is None:
        pytest.skip("node is not installed")
    command = [node, str(certificates / "app.js"), protocol, str(certificates)]
    with (
        AppProcess(command) as app,
        Sidecar(app_port=app.port, app_protocol=protocol, resources=[PUBSUB]) as sidecar,
    ):
        path = f"/v1.0/invoke/{sidecar.app_id}/method/echo"
        answer = call(sidecar.http_port, "POST", path, b"hello")
        assert (answer.status, answer.body) == (201, b"hello")
        assert app.wait_report(path="/echo")["version"] == version
        app.wait_report(path="/dapr/subscribe")
        assert call(sidecar.http_port, "POST", "/v1.0/publish/ps/t", {"n": 1}).status == 204
        assert json.loads(app.wait_report(path="/t")["body"])["data"] == {"n": 1}


class GrpcApp:
    """An AppCallback service of the official library; it keeps what it was told."""

    def __init__(self, health: bool | None = None) -> None:
        self.invoked: list[str] = []
        self.events: list[bytes] = []
        self.healthy = health

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        name = details.method.rpartition("/")[2]
        handlers: dict[str, Any] = {
            "OnInvoke": self._invoke,
            "ListTopicSubscriptions": self._list,
            "OnTopicEvent": self._event,
            "ListInputBindings": lambda *_: b"",
            "HealthCheck": self._health,
        }
        if name not in handlers:
            return None
        return grpc.unary_unary_rpc_method_handler(handlers[name])

    def _invoke(self, data: bytes, _: grpc.ServicerContext) -> bytes:
        request = common_pb2.InvokeRequest.FromString(data)
        self.invoked.append(request.method)
        return common_pb2.InvokeResponse(data=request.data).SerializeToString()

    def _list(self, *_: object) -> bytes:
        subscription = appcallback_pb2.TopicSubscription(pubsub_name="ps", topic="t")
        return appcallback_pb2.ListTopicSubscriptionsResponse(
            subscriptions=[subscription]
        ).SerializeToString()

    def _event(self, data: bytes, _: grpc.ServicerContext) -> bytes:
        self.events.append(appcallback_pb2.TopicEventRequest.FromString(data).data)
        return b""

    def _health(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        if not self.healthy:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return b""


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, app: GrpcApp) -> None:
        self._app = app

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return self._app.service(details)


@contextmanager
def serving(app: GrpcApp, port: int, tls: Path | None) -> Iterator[None]:
    server = grpc.server(futures.ThreadPoolExecutor(4), [_Handler(app)])
    if tls is None:
        server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        pair = ((tls / "key.pem").read_bytes(), (tls / "cert.pem").read_bytes())
        server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        yield
    finally:
        server.stop(0).wait()


async def until(true: Any, seconds: float = 30.0) -> None:
    """Wait for a fact that another thread brings about."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("protocol", ["grpc", "grpcs"])
async def test_grpc_apps(protocol: str, certificates: Path) -> None:
    app, port = GrpcApp(), free_port()
    with serving(app, port, certificates if protocol == "grpcs" else None):
        sidecar = Sidecar(app_port=port, app_protocol=protocol, resources=[PUBSUB])
        async with sidecar:
            path = f"/v1.0/invoke/{sidecar.app_id}/method/echo"
            answer = await acall(sidecar.http_port, "POST", path, b"hello")
            assert (answer.status, answer.body) == (200, b"hello")
            assert app.invoked == ["echo"]
            await acall(sidecar.http_port, "POST", "/v1.0/publish/ps/t", {"n": 1})
            await until(lambda: app.events)
            assert json.loads(app.events[0]) == {"n": 1}


async def test_grpc_health_checks() -> None:
    app, port = GrpcApp(health=False), free_port()
    flags = ["--enable-app-health-check", "--app-health-probe-interval=1"]
    with serving(app, port, None):
        sidecar = Sidecar(app_port=port, app_protocol="grpc", flags=flags)
        async with sidecar:
            path = f"/v1.0/invoke/{sidecar.app_id}/method/echo"
            refused = await acall(sidecar.http_port, "POST", path, b"hello")
            assert refused.status == 500
            assert "app is not in a healthy state" in refused.json["message"]
            app.healthy = True
            await asyncio.to_thread(sidecar.wait_line, "App entered healthy status")
            assert (await acall(sidecar.http_port, "POST", path, b"hello")).status == 200


async def test_the_first_questions_and_their_order() -> None:
    binding = component("tick", "bindings.cron", schedule="@every 1h")
    resources = [PUBSUB, binding]
    routes = {"GET /up": 200, "GET /dapr/config": (200, {}), "GET /dapr/subscribe": (200, [])}
    flags = ["--enable-app-health-check", "--app-health-check-path=up"]
    async with (
        LocalApp(routes) as app,
        Sidecar(app_port=app.port, resources=resources, flags=flags) as sidecar,
    ):
        await app.wait("/tick")
        first = [(seen.method, seen.path) for seen in app.seen if seen.path != "/up"]
        assert first == [("GET", "/dapr/config"), ("GET", "/dapr/subscribe"), ("OPTIONS", "/tick")]
        assert app.seen[0].path == "/up"
        for seen in app.seen_on("/dapr/config"):
            assert seen.headers["dapr-app-id"] == sidecar.app_id
            assert seen.headers["content-type"] == "application/json"


@pytest.mark.parametrize("answer", [404, 500, (200, [1]), (200, "text"), (200, {"entities": 5})])
async def test_an_app_without_a_usable_config_is_a_good_app(answer: object) -> None:
    async with (
        LocalApp({"GET /dapr/config": answer, "POST /m": 200}) as app,
        Sidecar(app_port=app.port) as sidecar,
    ):
        path = f"/v1.0/invoke/{sidecar.app_id}/method/m"
        assert (await acall(sidecar.http_port, "POST", path, b"x")).status == 200
        assert len(app.seen_on("/dapr/config")) == 1


async def test_init_endpoints_can_be_left_out() -> None:
    flags = ["--disable-init-endpoints=config,subscribe"]
    async with (
        LocalApp() as app,
        Sidecar(app_port=app.port, resources=[PUBSUB], flags=flags),
    ):
        assert app.seen == []


async def test_nothing_is_lost_while_the_app_is_not_healthy(tmp_path: Path) -> None:
    broker = component("ps", "pubsub.sqlite", connectionString=tmp_path / "broker.db")
    subscription = resource(
        "Subscription",
        "s",
        {"pubsubname": "ps", "topic": "t", "routes": {"default": "/t"}},
        "v2alpha1",
    )
    flags = [
        "--enable-app-health-check",
        "--app-health-probe-interval=1",
        "--app-health-probe-timeout=900",  # what a busy machine delays is healthy
        "--app-health-threshold=1",
    ]
    app = LocalApp({"GET /healthz": 200, "POST /t": 200})
    sidecar = Sidecar(app_port=app.port, resources=[broker, subscription], flags=flags)

    async def publish(number: int) -> None:
        done = await acall(sidecar.http_port, "POST", "/v1.0/publish/ps/t", {"n": number})
        assert done.status == 204

    async with app, sidecar:
        await publish(1)
        await app.wait("/t", 1)
        app.routes["GET /healthz"] = 503
        await asyncio.to_thread(sidecar.wait_line, "App entered un-healthy status")
        assert (await acall(sidecar.http_port, "GET", "/v1.0/healthz")).status == 204
        for number in (2, 3):
            await publish(number)
        path = f"/v1.0/invoke/{sidecar.app_id}/method/m"
        refused = await acall(sidecar.http_port, "POST", path, b"")
        assert (refused.status, refused.code) == (500, "ERR_DIRECT_INVOKE")
        probes = len(app.seen_on("/healthz"))
        await app.wait("/healthz", probes + 1)
        assert len(app.seen_on("/t")) == 1
        app.routes["GET /healthz"] = 200
        seen = await app.wait("/t", 3)
        assert [event.json["data"]["n"] for event in seen] == [1, 2, 3]
        assert len(app.seen_on("/dapr/subscribe")) == 1  # not asked again


async def test_app_concurrency_is_capped() -> None:
    running = most = 0
    everyone = asyncio.Event()

    async def slow(seen: Seen) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            everyone.set()
        await everyone.wait()
        await asyncio.sleep(0.05)
        running -= 1
        return 200

    async with (
        LocalApp({"POST /m": slow}) as app,
        Sidecar(app_port=app.port, flags=["--app-max-concurrency=2"]) as sidecar,
    ):
        path = f"/v1.0/invoke/{sidecar.app_id}/method/m"
        calls = [acall(sidecar.http_port, "POST", path, b"x") for _ in range(8)]
        assert {answer.status for answer in await asyncio.gather(*calls)} == {200}
    assert most == 2


async def test_an_app_on_ipv6() -> None:
    app = LocalApp({"POST /m": 200}, host="::1")
    async with (
        app,
        Sidecar(app_port=app.port, flags=["--app-channel-address=::1"]) as sidecar,
    ):
        path = f"/v1.0/invoke/{sidecar.app_id}/method/m"
        assert (await acall(sidecar.http_port, "POST", path, b"x")).status == 200
