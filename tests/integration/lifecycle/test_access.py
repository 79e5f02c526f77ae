"""Who may call what, where it listens, and what the sidecar says of itself."""

from __future__ import annotations

import contextlib
import json
import select
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from harness.app import RecordingApp
from harness.http_call import call, exchange
from harness.programs import free_port
from harness.raw_app import RawApp, RawRequest
from harness.sidecar import Sidecar, component, resource
from harness.sidecar_pair import names_in

from dapr_common.wire.dapr.proto.runtime.v1 import metadata_pb2, state_pb2

DAPR = "/dapr.proto.runtime.v1.Dapr/"
STORE = component("st", "state.in-memory")


def rpc(
    address: str, method: str, request: bytes = b"", metadata: Any = (), **options: Any
) -> bytes:
    """One unary call of the official library."""
    with grpc.insecure_channel(address, list(options.items())) as channel:
        answer: bytes = channel.unary_unary(DAPR + method)(request, timeout=10, metadata=metadata)
        return answer


def save_request(size: int) -> bytes:
    from dapr_common.wire.dapr.proto.common.v1 import common_pb2

    item = common_pb2.StateItem(key="k", value=b"x" * size)
    return state_pb2.SaveStateRequest(store_name="st", states=[item]).SerializeToString()


def test_api_tokens_in_both_directions() -> None:
    routes = {"GET /m": {"status": 200}, "GET /healthz": {"status": 200}}
    flags = ["--enable-app-health-check"]
    env = {"DAPR_API_TOKEN": "in", "APP_API_TOKEN": "out"}
    with (
        RecordingApp(routes) as app,
        Sidecar(app_port=app.port, env=env, flags=flags, resources=[STORE]) as sidecar,
    ):
        sidecar.wait_line("App entered healthy status")
        port, path = sidecar.http_port, f"/v1.0/invoke/{sidecar.app_id}/method/m"
        for headers in ({}, {"dapr-api-token": "wrong"}, {"dapr-api-token": ""}):
            refused = call(port, "GET", path, headers=headers)
            assert (refused.status, refused.body) == (401, b"invalid api token\n")
            assert refused.headers["content-type"] == "text/plain; charset=utf-8"
            assert refused.headers["x-content-type-options"] == "nosniff"
        assert call(port, "GET", "//v1.0/healthz/").status == 204
        assert call(port, "GET", "/v1.0/healthz/outbound").status == 204
        assert call(port, "POST", "/v1.0/healthz").status == 401
        assert call(port, "GET", path, headers={"Dapr-Api-Token": "in"}).status == 200
        assert app.wait_report(path="/m")["headers"]["dapr-api-token"] == "out"
        assert "dapr-api-token" not in app.wait_report(path="/healthz")["headers"]
        assert app.wait_report(path="/dapr/config")["headers"]["dapr-api-token"] == "out"
        for metadata in ((), (("dapr-api-token", "wrong"),)):
            with pytest.raises(grpc.RpcError) as caught:
                rpc(sidecar.grpc_address, "GetMetadata", metadata=metadata)
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
            assert caught.value.details() == "Unauthorized"
        rpc(sidecar.grpc_address, "GetMetadata", metadata=(("dapr-api-token", "in"),))
        assert "in" not in [word for line in sidecar.lines for word in line.split('"')]


def test_allow_and_deny_lists_of_each_protocol() -> None:
    state = {"name": "state", "version": "v1"}
    config = {
        "api": {
            "allowed": [{**state, "protocol": "HTTP"}, {**state, "protocol": "grpc"}],
            "denied": [{"name": "state", "version": "v1.0", "protocol": "grpc"}],
        }
    }
    with Sidecar(config=config, resources=[STORE]) as sidecar:
        port = sidecar.http_port
        assert call(port, "POST", "/v1.0/state/st", [{"key": "k", "value": 1}]).status == 204
        gone = call(port, "GET", "/v1.0/metadata")
        assert (gone.status, gone.headers["content-type"]) == (404, "text/plain; charset=utf-8")
        assert call(port, "GET", "/v1.0/healthz").status == 204
        with pytest.raises(grpc.RpcError) as caught:
            rpc(sidecar.grpc_address, "GetMetadata")
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_denied_grpc_methods() -> None:
    config = {"api": {"denied": [{"name": "state", "version": "v1", "protocol": "grpc"}]}}
    with Sidecar(config=config, resources=[STORE]) as sidecar:
        with pytest.raises(grpc.RpcError) as caught:
            rpc(sidecar.grpc_address, "SaveState", save_request(1))
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        rpc(sidecar.grpc_address, "GetMetadata")
        saved = call(sidecar.http_port, "POST", "/v1.0/state/st", [{"key": "k", "value": 1}])
        assert saved.status == 204


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_listen_addresses_of_both_families() -> None:
    flags = ["--dapr-listen-addresses=127.0.0.1,[::1]", "--metrics-listen-address=::1"]
    with Sidecar(flags=flags) as sidecar:
        for host in ("127.0.0.1", "::1"):
            assert call(sidecar.http_port, "GET", "/v1.0/healthz", host=host).status == 204
        assert call(sidecar.metrics_port, "GET", "/any", host="::1").status == 200
        rpc(f"[::1]:{sidecar.grpc_port}", "GetMetadata")


def test_an_address_that_cannot_be_bound_is_left_out() -> None:
    with Sidecar(flags=["--dapr-listen-addresses=127.0.0.1,203.0.113.7"], ready="") as sidecar:
        sidecar.wait_line("could not listen on 203.0.113.7", 30)
        sidecar.wait_lines("could not listen on 203.0.113.7", 2, 30)
        sidecar.wait_line("dapr initialized", 30)
        assert call(sidecar.http_port, "GET", "/v1.0/healthz").status == 204


def test_the_public_port_serves_health_and_metadata_only() -> None:
    port = free_port()
    flags = [f"--dapr-public-port={port}", "--dapr-public-listen-address=127.0.0.1"]
    with Sidecar(flags=flags, env={"DAPR_API_TOKEN": "t"}, resources=[STORE]) as sidecar:
        assert call(port, "GET", "/v1.0/healthz").status == 204
        assert call(port, "GET", "/v1.0/healthz/outbound").status == 204
        assert call(port, "GET", "/v1.0/metadata").json["id"] == sidecar.app_id
        assert call(port, "PUT", "/v1.0/metadata/word", b"hello").status == 204
        for method, path in (("GET", "/v1.0/state/st/k"), ("POST", "/v1.0/shutdown"), ("GET", "/")):
            refused = call(port, method, path)
            assert (refused.status, refused.body.strip()) == (404, b"404 page not found")
        headers = {"dapr-api-token": "t"}
        found = call(sidecar.http_port, "GET", "/v1.0/metadata", headers=headers).json
        assert found["extended"]["word"] == "hello"


def test_metadata_does_not_fill_the_memory() -> None:
    """The public port takes it from anybody who reaches the pod."""
    port = free_port()
    flags = [f"--dapr-public-port={port}", "--dapr-public-listen-address=127.0.0.1"]
    with Sidecar(flags=flags) as sidecar:
        large = b"v" * (3 << 20)
        answers = [call(port, "PUT", f"/v1.0/metadata/k{n}", large) for n in (0, 1, 0, 2)]
        assert [answer.status for answer in answers] == [204, 204, 204, 413]
        assert answers[3].json["errorCode"] == "ERR_METADATA_TOO_LARGE"
        request = metadata_pb2.SetMetadataRequest(key="k", value="v" * len(large))
        with pytest.raises(grpc.RpcError) as refused:
            rpc(sidecar.grpc_address, "SetMetadata", request.SerializeToString())
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert call(port, "PUT", "/v1.0/metadata/k0", b"").status == 204  # makes room
        assert call(port, "PUT", "/v1.0/metadata/k2", large).status == 204


def test_metadata_that_does_not_come_does_not_fill_the_memory() -> None:
    port = free_port()
    flags = [f"--dapr-public-port={port}", "--dapr-public-listen-address=127.0.0.1"]
    with Sidecar(flags=flags), contextlib.ExitStack() as opened:
        head = b"PUT /v1.0/metadata/k HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n"
        senders = []
        for _ in range(5):
            sender = opened.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            sender.sendall(head + b"v" * 3_999_999)
            senders.append(sender)
        # They are read side by side: any of them may be the one too many.
        refused = select.select(senders, [], [], 10)[0]
        assert len(refused) == 1
        assert b" 503 " in refused[0].recv(100)
        for sender in senders:
            if sender is not refused[0]:
                sender.sendall(b"v")
                assert b" 204 " in sender.recv(100)
        assert call(port, "PUT", "/v1.0/metadata/k", b"v").status == 204


def test_what_is_denied_is_denied_on_the_public_port_too() -> None:
    port = free_port()
    flags = [f"--dapr-public-port={port}", "--dapr-public-listen-address=127.0.0.1"]
    sidecar = Sidecar(flags=flags)
    path = sidecar.resources_path / "config.yaml"
    denied = [{"name": "metadata", "version": "v1", "protocol": "http"}]
    path.write_text(yaml.safe_dump(resource("Configuration", "c", {"api": {"denied": denied}})))
    sidecar.command.append(f"--config={path}")
    with sidecar:
        for method, below in (("GET", ""), ("PUT", "/word")):
            refused = call(port, method, f"/v1.0/metadata{below}", b"")
            assert (refused.status, refused.body.strip()) == (404, b"404 page not found")
        assert call(port, "GET", "/v1.0/healthz").status == 204
        path.write_text(yaml.safe_dump(resource("Configuration", "c", {})))
        sidecar.wait_line("Configuration c is applied")
        assert call(port, "GET", "/v1.0/metadata").status == 200


def streaming(connection: socket.socket, _: RawRequest) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
    connection.sendall(b"3\r\ncde\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("obfuscated", "names"),
    [
        (
            True,
            [
                "GetState",
                "PutMetadata",
                "InvokeService/me",
                "InvokeService/other",
                "InvokeService",
                "QueryStateAlpha1",
            ],
        ),
        (
            False,
            [
                "GET /v1.0/state/st/k",
                "PUT /v1.0/metadata/w",
                "GET /v1.0/invoke/me/method/x",
                "GET /x",
                "GET /nothing",
                "PUT /v1.0-alpha1/state/st/query",
            ],
        ),
    ],
)
def test_calls_in_the_log(tmp_path: Path, obfuscated: bool, names: list[str]) -> None:
    api_logging = {"enabled": True, "obfuscateURLs": obfuscated, "omitHealthChecks": True}
    with (
        RawApp() as app,
        Sidecar(
            "me",
            app_port=app.port,
            resources=[STORE],
            config={"logging": {"apiLogging": api_logging}, **names_in(tmp_path)},
            flags=["--log-as-json"],
        ) as sidecar,
    ):
        app.answers["/x"] = streaming
        agent = {"User-Agent": "ua/1"}
        for method, path, more in (
            ("GET", "/v1.0/healthz", {}),
            ("GET", "/v1.0/state/st/k?metadata.secret=s", {}),
            ("PUT", "/v1.0/metadata/w", {}),
            ("GET", "/v1.0/invoke/me/method/x", {}),
            ("GET", "/x", {"dapr-app-id": "other"}),
            ("GET", "/nothing", {}),
            ("PUT", "/v1.0-alpha1/state/st/query", {}),
        ):
            call(sidecar.http_port, method, path, headers={**agent, **more})
        found = [json.loads(line) for line in sidecar.wait_lines("HTTP API Called", 6)]
        assert [line["method"] for line in found] == names
        assert [line["code"] for line in found] == [204, 204, 200, 500, 404, 500]
        assert [line["size"] for line in found[:3]] == [0, 0, 5]
        assert {line["useragent"] for line in found} == {"ua/1"}


def test_metrics_can_be_switched_off() -> None:
    with Sidecar(flags=["--enable-metrics=false"]) as sidecar, pytest.raises(OSError):
        call(sidecar.metrics_port, "GET", "/")


def test_body_limit_of_both_apis() -> None:
    with Sidecar(flags=["--max-body-size=64Ki"], resources=[STORE]) as sidecar:
        port, limit = sidecar.http_port, 64 << 10
        frame = b'[{"key":"k","value":"%s"}]'
        fits = frame % (b"x" * (limit - len(frame) + 2))
        assert len(fits) == limit
        assert call(port, "POST", "/v1.0/state/st", fits).status == 204
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
        for path, status, code in (
            (b"/v1.0/state/st", b"400", b"ERR_MALFORMED_REQUEST"),
            (b"/v1.0/bindings/b", b"400", b"ERR_MALFORMED_REQUEST"),
            (b"/v1.0/invoke/x/method/m", b"500", b"ERR_DIRECT_INVOKE"),
        ):
            raw = exchange(port, head % (path, limit + 1) + fits + b" ")
            assert raw.startswith(b"HTTP/1.1 " + status), raw[:300]
            assert code in raw
            assert b"Connection: close" in raw
        chunked = b"POST /v1.0/state/st HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw = exchange(port, chunked + b"%x\r\n%b\r\n" % (limit + 1, fits + b" ") + b"0\r\n\r\n")
        assert b"ERR_MALFORMED_REQUEST" in raw
        rpc(sidecar.grpc_address, "SaveState", save_request(limit - 100))
        with pytest.raises(grpc.RpcError) as caught:
            rpc(sidecar.grpc_address, "SaveState", save_request(limit + 1))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_header_limit() -> None:
    with Sidecar(resources=[STORE]) as sidecar:
        for size, status in ((7000, 204), (9000, 431)):
            answer = call(sidecar.http_port, "GET", "/v1.0/healthz", headers={"x": "y" * size})
            assert answer.status == status
        assert answer.headers["connection"] == "close"
    with Sidecar(flags=["--read-buffer-size=16Ki"]) as sidecar:
        answer = call(sidecar.http_port, "GET", "/v1.0/healthz", headers={"x": "y" * 18000})
        assert answer.status == 204


def test_metadata_of_a_sidecar_with_an_app() -> None:
    resources = [
        STORE,
        component("ps", "pubsub.in-memory"),
        resource("HTTPEndpoint", "api", {"baseUrl": "http://127.0.0.1:1"}),
        resource("Resiliency", "r", {"policies": {}, "targets": {}}),
    ]
    subscription = [{"pubsubname": "ps", "topic": "t", "route": "/t"}]
    routes = {"GET /dapr/subscribe": {"json": subscription}, "GET /healthz": {}}
    flags = ["--app-max-concurrency=5", "--enable-app-health-check"]
    with (
        RecordingApp(routes) as app,
        Sidecar("me", app_port=app.port, resources=resources, flags=flags) as sidecar,
    ):
        app.wait_report(path="/dapr/subscribe")
        sidecar.wait_line("subscribing to topic t on ps")
        assert call(sidecar.http_port, "PUT", "/v1.0/metadata/a%20b", b"v").status == 204
        found = call(sidecar.http_port, "GET", "/v1.0/metadata").json
        assert found["id"] == "me"
        assert found["runtimeVersion"] == found["extended"]["daprRuntimeVersion"] == "1.18.3"
        assert found["extended"]["a b"] == "v"
        assert "HotReload" in found["enabledFeatures"]
        assert [one["name"] for one in found["httpEndpoints"]] == ["api"]
        assert [one["name"] for one in found["resiliencies"]] == ["r"]
        (one,) = found["subscriptions"]
        assert (one["pubsubname"], one["topic"], one["type"]) == ("ps", "t", "PROGRAMMATIC")
        assert found["appConnectionProperties"] == {
            "port": app.port,
            "protocol": "http",
            "channelAddress": "127.0.0.1",
            "maxConcurrency": 5,
            "health": {
                "healthCheckPath": "/healthz",
                "healthProbeInterval": "5s",
                "healthProbeTimeout": "500ms",
                "healthThreshold": 3,
            },
        }
        data = rpc(sidecar.grpc_address, "GetMetadata")
        same = metadata_pb2.GetMetadataResponse.FromString(data)
        assert {c.name for c in same.registered_components} == {"st", "ps"}
        assert same.app_connection_properties.port == app.port


def test_health_of_another_app_id() -> None:
    with Sidecar("me") as sidecar:
        assert call(sidecar.http_port, "GET", "/v1.0/healthz?appid=me").status == 204
        other = call(sidecar.http_port, "GET", "/v1.0/healthz?appid=you")
        assert (other.status, other.code) == (500, "ERR_HEALTH_APPID_NOT_MATCH")
