"""Requests a sidecar must refuse, and that it serves on afterwards."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from harness.http_call import call, exchange
from harness.sidecar import Sidecar, component

from dapr_common.wire.dapr.proto.runtime.v1 import ai_pb2, pubsub_pb2, state_pb2

DAPR = "/dapr.proto.runtime.v1.Dapr/"
STATE, BULK = "/v1.0/state/st", "/v1.0/state/st/bulk"
TRANSACTION, PUBLISH_BULK = "/v1.0/state/st/transaction", "/v1.0/publish/bulk/ps/t"
BINDING, LOCK = "/v1.0/bindings/files", "/v1.0-alpha1/lock/lk"
MALFORMED, SERIAL = "ERR_MALFORMED_REQUEST", "ERR_PUBSUB_EVENTS_SER"


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("files")
    (folder / "secrets.json").write_text('{"s": "v"}')
    resources = [
        component("st", "state.in-memory"),
        component("db", "state.sqlite", connectionString=folder / "state.db"),
        component("ps", "pubsub.in-memory"),
        component("files", "bindings.localstorage", rootPath=folder),
        component("vault", "secretstores.local.file", secretsFile=folder / "secrets.json"),
    ]
    secrets = {"scopes": [{"storeName": "vault", "deniedSecrets": ["hidden"]}]}
    with Sidecar(resources=resources, config={"secrets": secrets}) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", STATE, b"{bad", 400, MALFORMED),
        ("POST", STATE, b"", 400, MALFORMED),
        ("POST", STATE, b"[", 400, MALFORMED),
        ("POST", STATE, b"null1", 400, MALFORMED),
        ("POST", STATE, b'{"key":"a"}', 400, MALFORMED),
        ("POST", STATE, b'[{"key":5,"value":1}]', 400, MALFORMED),
        ("POST", STATE, b'[{"value":1}]', 400, MALFORMED),
        ("POST", STATE, b'[{"key":"a","value":1,"metadata":[]}]', 400, MALFORMED),
        ("POST", STATE, b'[{"key":"a","value":1,"etag":5}]', 400, MALFORMED),
        ("POST", STATE, b'["a"]', 400, MALFORMED),
        ("POST", STATE, b"[" * 100_000, 400, MALFORMED),
        ("POST", STATE, b'[{"key":"a","value":"\xff"}]', 400, MALFORMED),
        ("POST", STATE, b'[{"key":"a||b","value":1}]', 400, MALFORMED),
        ("GET", f"{STATE}/a%7C%7Cb", None, 400, MALFORMED),
        ("GET", "/v1.0/state/nope/a", None, 400, "ERR_STATE_STORE_NOT_FOUND"),
        ("POST", BULK, b"x", 400, MALFORMED),
        ("POST", BULK, b'{"keys":"a"}', 400, MALFORMED),
        ("POST", BULK, b'{"keys":["a"],"parallelism":"many"}', 400, MALFORMED),
        ("POST", TRANSACTION, b"x", 400, MALFORMED),
        ("POST", TRANSACTION, b'{"operations":5}', 400, MALFORMED),
        (
            "POST",
            TRANSACTION,
            b'{"operations":[{"operation":"foo","request":{}}]}',
            400,
            "ERR_NOT_SUPPORTED_STATE_OPERATION",
        ),
        ("POST", "/v1.0-alpha1/state/st/query", b"{}", 500, "ERR_STATE_STORE_NOT_SUPPORTED"),
        ("POST", "/v1.0/publish/nope/t", b"{}", 404, "ERR_PUBSUB_NOT_FOUND"),
        ("POST", "/v1.0/publish/ps/", b"{}", 404, "ERR_DIRECT_INVOKE"),
        (
            "POST",
            "/v1.0/publish/ps/t?metadata.rawPayload=zzz",
            b"{}",
            400,
            "ERR_PUBSUB_REQUEST_METADATA",
        ),
        ("POST", PUBLISH_BULK, b"nope", 400, SERIAL),
        ("POST", PUBLISH_BULK, b"{}", 400, SERIAL),
        ("POST", PUBLISH_BULK, b"[{}]", 400, SERIAL),
        ("POST", PUBLISH_BULK, b"[5]", 400, SERIAL),
        (
            "POST",
            PUBLISH_BULK,
            b"[%b,%b]" % ((b'{"entryId":"1","event":"a","contentType":"text/plain"}',) * 2),
            400,
            SERIAL,
        ),
        ("POST", BINDING, b"{bad", 400, MALFORMED),
        ("POST", BINDING, b"[]", 400, MALFORMED),
        ("POST", BINDING, b'{"operation":5}', 400, MALFORMED),
        ("POST", BINDING, b"{}", 500, "ERR_INVOKE_OUTPUT_BINDING"),
        ("POST", BINDING, b'{"operation":"fly"}', 500, "ERR_INVOKE_OUTPUT_BINDING"),
        (
            "POST",
            BINDING,
            b'{"operation":"get","metadata":{"fileName":"../../etc/passwd"}}',
            500,
            "ERR_INVOKE_OUTPUT_BINDING",
        ),
        ("POST", "/v1.0/bindings/no", b'{"operation":"get"}', 500, "ERR_INVOKE_OUTPUT_BINDING"),
        ("GET", "/v1.0/secrets/none/x", None, 401, "ERR_SECRET_STORE_NOT_FOUND"),
        ("GET", "/v1.0/secrets/vault/none", None, 500, "ERR_SECRET_GET"),
        ("GET", "/v1.0/secrets/vault/hidden", None, 403, "ERR_PERMISSION_DENIED"),
        ("GET", "/v1.0/configuration/x", None, 500, "ERR_CONFIGURATION_STORE_NOT_CONFIGURED"),
        ("POST", LOCK, b"{}", 400, MALFORMED),
        ("POST", LOCK, b'{"expiryInSeconds":1}', 500, "ERR_LOCK_STORE_NOT_CONFIGURED"),
        ("POST", "/v1.0/invoke/x/method/y", b"{}", 500, "ERR_DIRECT_INVOKE"),
        ("POST", "/v1.0/invoke/x/method/a%3Fb", b"{}", 500, "ERR_DIRECT_INVOKE"),
        ("POST", "/v1.0/invoke/x/method/a%00b", b"{}", 500, "ERR_DIRECT_INVOKE"),
        ("DELETE", "/v1.0/healthz", None, 404, "ERR_DIRECT_INVOKE"),
        ("POST", "/v1.0/unknown", b"{}", 404, "ERR_DIRECT_INVOKE"),
        ("GET", "/", None, 404, "ERR_DIRECT_INVOKE"),
    ],
)
def test_refused(
    sidecar: Sidecar, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    answer = call(sidecar.http_port, method, path, body)
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["content-type"] == "application/json"
    assert "Traceback" not in answer.json["message"]


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        (STATE, b'[{"key":[]}]', "key must be a string"),
        (STATE, b'[{"key":"a","metadata":5}]', "metadata must be an object"),
        (STATE, b'[{"key":"\\ud800\xff"}]', "str is not valid UTF-8"),
        (BULK, b'{"parallelism":{}}', "parallelism must be a whole number"),
        (LOCK, b'{"resourceId":{}}', "the value of resourceId does not fit"),
        (LOCK, b'{"expiryInSeconds":true}', "the value of expiryInSeconds does not fit"),
        (LOCK, b'{"a":\xff}', "it is not valid UTF-8"),
        (LOCK, b'{"a":' * 3000, "it is nested too deeply"),
        (LOCK, b'{"a":%b}' % (b"1" * 5000), "a value in it does not fit"),
        ("/v1.0/jobs/j", b'{"data":[%b]}' % (b"1" * 400), "a value in it does not fit"),
    ],
)
def test_refusals_are_in_words_of_json(sidecar: Sidecar, path: str, body: bytes, told: str) -> None:
    answer = call(sidecar.http_port, "POST", path, body)
    assert (answer.status, answer.code) == (400, MALFORMED)
    assert answer.json["message"].removeprefix("failed deserializing HTTP body: ") == told


def test_a_key_that_cannot_be_decoded(sidecar: Sidecar) -> None:
    answer = call(sidecar.http_port, "GET", "/v1.0/state/st/a%zz")
    assert answer.status == 400
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "shown"),
    [
        ("GET", "/v1.0/state/db/%ff", None, 204, ""),
        ("DELETE", "/v1.0/state/db/%ff?metadata.a=%ff", None, 204, ""),
        ("POST", "/v1.0/publish/ps/%ff", b"{}", 204, ""),
        ("GET", "/v1.0/secrets/vault/%ff", None, 500, "secret \ufffd not found"),
        ("POST", "/v1.0/bindings/%ff", b'{"operation":"get"}', 500, "find output binding \ufffd"),
    ],
)
def test_names_whose_bytes_are_no_utf8(
    sidecar: Sidecar, method: str, path: str, body: bytes | None, status: int, shown: str
) -> None:
    answer = call(sidecar.http_port, method, path, body)
    assert answer.status == status
    assert not shown or shown in answer.json["message"]


def test_a_query_that_is_too_long(sidecar: Sidecar) -> None:
    body = b" " * (4 * 1024 * 1024 + 1)
    answer = call(sidecar.http_port, "POST", "/v1.0-alpha1/state/st/query", body)
    assert (answer.status, answer.code) == (400, "ERR_BODY_READ")
    assert answer.json["message"] == "failed to read request body: stream too large"


@pytest.mark.parametrize("pair", ["metadata.a=%zz", "metadata.%zz=a", "metadata.a=%zz&x=1"])
def test_a_parameter_that_cannot_be_decoded_is_left_out(sidecar: Sidecar, pair: str) -> None:
    assert call(sidecar.http_port, "GET", f"/v1.0/secrets/vault/s?{pair}").json == {"s": "v"}


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
        (
            b"POST /v1.0/state/st HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"400",
        ),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", b"400"),
    ],
    ids=[
        "words",
        "no host",
        "negative",
        "two lengths",
        "version",
        "header",
        "long",
        "chunk",
        "tls",
    ],
)
def test_bytes_that_are_no_request(sidecar: Sidecar, data: bytes, status: bytes) -> None:
    assert exchange(sidecar.http_port, data).startswith(b"HTTP/1.1 " + status)


def test_a_half_sent_request_changes_nothing(sidecar: Sidecar) -> None:
    body = b'[{"key":"half","value":"'
    head = b"POST /v1.0/state/st HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", sidecar.http_port)) as connection:
        connection.sendall(head + body)
    assert call(sidecar.http_port, "GET", f"{STATE}/half").status == 204


def test_a_slow_client_holds_up_nobody(sidecar: Sidecar) -> None:
    body = b'[{"key":"slow","value":1}]'
    head = b"POST /v1.0/state/st HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", sidecar.http_port), 10) as connection:
        for number, byte in enumerate(head + body):
            connection.sendall(bytes([byte]))
            if number % 40 == 0:
                assert call(sidecar.http_port, "GET", "/v1.0/healthz").status == 204
        assert connection.recv(100).startswith(b"HTTP/1.1 204")


def test_hundreds_of_idle_and_half_open_connections(sidecar: Sidecar) -> None:
    connections = [socket.create_connection(("127.0.0.1", sidecar.http_port)) for _ in range(300)]
    try:
        for connection in connections[::2]:
            connection.sendall(b"GET /v1.0/healthz HTTP/1.1\r\nHos")
        assert call(sidecar.http_port, "GET", "/v1.0/healthz", timeout=10).status == 204
    finally:
        for connection in connections:
            connection.close()


def test_a_client_that_does_not_read_its_answers(sidecar: Sidecar) -> None:
    value = b'[{"key":"big","value":"%b"}]' % (b"x" * 1_000_000)
    assert call(sidecar.http_port, "POST", STATE, value).status == 204
    request = b"GET /v1.0/state/st/big HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", sidecar.http_port)) as connection:
        connection.setblocking(False)
        connection.send(request * 100)
        before = memory(sidecar)
        for _ in range(20):
            assert call(sidecar.http_port, "GET", "/v1.0/healthz").status == 204
        assert memory(sidecar) - before < 40 << 20


def memory(sidecar: Sidecar) -> int:
    fields = Path(f"/proc/{sidecar.process.pid}/statm").read_text().split()
    return int(fields[1]) * 4096


@pytest.mark.parametrize("version", ["v1.0", "v1.0-alpha1", "v1.0-beta1"])
@pytest.mark.parametrize(
    "path",
    ["i", "n/start", "i/raiseEvent/e", "i/pause", "i/resume", "i/terminate", "i/purge"],
)
def test_workflows_that_are_not_there(sidecar: Sidecar, version: str, path: str) -> None:
    method = "POST" if "/" in path else "GET"
    answer = call(sidecar.http_port, method, f"/{version}/workflows/dapr/{path}", b"{}")
    assert (answer.status, answer.code) == (400, "ERR_ACTOR_NO_PLACEMENT")


def test_apis_that_are_not_there() -> None:
    named = ai_pb2.ConversationRequestAlpha2(name="c").SerializeToString()
    with (
        Sidecar(flags=["--placement-host-address=127.0.0.1:1"], ready="healthz/outbound") as other,
        grpc.insecure_channel(other.grpc_address) as channel,
    ):
        for method, path, status, code in (
            ("GET", "/v1.0/workflows/dapr/i", 501, "ERR_API_UNIMPLEMENTED"),
            ("POST", "/v1.0-alpha1/conversation/c/converse", 400, "ERR_CONVERSATION_NOT_FOUND"),
            ("POST", "/v1.0-alpha2/conversation/c/converse", 400, "ERR_CONVERSATION_NOT_FOUND"),
            ("GET", "/v1.0-alpha2/conversation/c/converse", 404, "ERR_DIRECT_INVOKE"),
        ):
            answer = call(other.http_port, method, path, None if method == "GET" else b"{}")
            assert (answer.status, answer.code) == (status, code)
        for name, request, wanted, text in (
            (f"{DAPR}StartWorkflowBeta1", b"", "UNIMPLEMENTED", "currently not implemented"),
            (f"{DAPR}PurgeWorkflowAlpha1", b"", "UNIMPLEMENTED", "currently not implemented"),
            ("/TaskHubSidecarService/Hello", b"", "UNIMPLEMENTED", "has no workflows"),
            (f"{DAPR}ConverseAlpha1", named, "INVALID_ARGUMENT", "conversation component c"),
            (f"{DAPR}ConverseAlpha2", named, "INVALID_ARGUMENT", "conversation component c"),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(name)(request, timeout=10)
            assert caught.value.code().name == wanted
            assert text in caught.value.details()


def refusal(sidecar: Sidecar, method: str, request: bytes) -> grpc.StatusCode:
    with grpc.insecure_channel(sidecar.grpc_address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(DAPR + method)(request, timeout=10)
        code: grpc.StatusCode = caught.value.code()
        return code


@pytest.mark.parametrize(
    ("method", "request_bytes", "code"),
    [
        ("Nothing", b"", grpc.StatusCode.UNKNOWN),
        ("GetWorkflowBeta1", b"", grpc.StatusCode.UNAVAILABLE),
        ("SaveState", b"\xff\xff\xff", grpc.StatusCode.INTERNAL),
        ("ConverseAlpha1", b"\xff\xff\xff", grpc.StatusCode.INTERNAL),
        (
            "GetState",
            state_pb2.GetStateRequest(store_name="nope", key="k").SerializeToString(),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        (
            "GetState",
            state_pb2.GetStateRequest(store_name="st", key="a||b").SerializeToString(),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        (
            "PublishEvent",
            pubsub_pb2.PublishEventRequest(pubsub_name="nope", topic="t").SerializeToString(),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        (
            "PublishEvent",
            pubsub_pb2.PublishEventRequest(pubsub_name="ps").SerializeToString(),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        ("SubscribeConfiguration", b"", grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
def test_grpc_refusals(
    sidecar: Sidecar, method: str, request_bytes: bytes, code: grpc.StatusCode
) -> None:
    assert refusal(sidecar, method, request_bytes) == code


def test_bytes_that_are_no_http2(sidecar: Sidecar) -> None:
    assert not exchange(sidecar.grpc_port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP")
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    exchange(sidecar.grpc_port, preface + b"\xff" * 100)
    with grpc.insecure_channel(sidecar.grpc_address) as channel:
        channel.unary_unary(DAPR + "GetMetadata")(b"", timeout=10)


def test_callers_that_go_away_leave_nothing_behind(sidecar: Sidecar) -> None:
    def leave() -> None:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", sidecar.http_port)) as connection:
                connection.sendall(b"GET /v1.0/metadata HTTP/1.1\r\nHost: x\r\n\r\n" * 5)

    threads = [threading.Thread(target=leave) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert call(sidecar.http_port, "GET", "/v1.0/healthz").status == 204
    until = time.monotonic() + 30
    while len(list(Path(f"/proc/{sidecar.process.pid}/fd").iterdir())) > 60:
        assert time.monotonic() < until, "connections stay open"
        time.sleep(0.05)
    assert "level=error" not in sidecar.log
