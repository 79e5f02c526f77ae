"""What ``invoke`` and ``publish`` ask a sidecar, and what they say of its answer."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from harness.stand_in_server import Answered, Asked, serving

from dapr_cli.processes import Process


class Sidecar:
    """Takes requests down, and answers them with what a test says."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer = Answered(204, b"")

    def __call__(self, asked: Asked) -> Answered:
        self.asked.append(asked)
        return self.answer


@pytest.fixture
def sidecar(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sidecar]:
    found = Sidecar()
    with serving(found) as url:
        words = ("daprd", "--app-id", "orders", "--dapr-http-port", url.rpartition(":")[2])
        process = Process(1, 0, words, datetime.now(UTC))
        monkeypatch.setattr("dapr_cli.instances.daprd_processes", lambda: [process])
        yield found


INVOKED, PUBLISHED = "✅  App invoked successfully\n", "✅  Event published successfully\n"


def test_invoke(dapr, sidecar: Sidecar) -> None:
    sidecar.answer = Answered(200, "größe\n".encode())
    outcome = dapr("invoke", "-a", "orders", "-m", "/new/order?id=1&x=a b", "-d", '{"n": "ß"}')
    assert (outcome.code, outcome.out, outcome.err) == (0, f"größe\n\n{INVOKED}", "")
    (asked,) = sidecar.asked
    assert (asked.method, asked.path) == ("POST", "/v1.0/invoke/orders/method/new/order")
    assert asked.query == {"id": "1", "x": "a b"}
    assert asked.headers["content-type"] == "application/json"
    assert asked.body == '{"n": "ß"}'.encode()


@pytest.mark.parametrize("verb", ["GET", "put", "Delete"])
def test_another_verb_without_data(verb: str, dapr, sidecar: Sidecar) -> None:
    outcome = dapr("invoke", "--app-id", "orders", "--method", "x", "--verb", verb)
    assert (outcome.code, outcome.out, outcome.err) == (0, INVOKED, "")
    (asked,) = sidecar.asked
    assert (asked.method, asked.body) == (verb.upper(), b"")


@pytest.mark.parametrize("verb", [["invoke", "-a", "orders", "-m", "x"], None])
def test_data_from_a_file_or_standard_input(
    verb: list[str] | None, dapr, sidecar: Sidecar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = verb or ["publish", "-i", "orders", "-p", "bus", "-t", "x"]
    file = tmp_path / "data"
    file.write_bytes(b"\x00\xff")
    assert dapr(*command, "-f", str(file)).code == 0
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"\xfe")))
    assert dapr(*command, "--data-file", "-").code == 0
    assert [asked.body for asked in sidecar.asked] == [b"\x00\xff", b"\xfe"]


@pytest.mark.parametrize("status", [301, 302, 399])
def test_a_redirection_is_no_error(status: int, dapr, sidecar: Sidecar) -> None:
    sidecar.answer = Answered(status, b"elsewhere", {"Location": "http://127.0.0.1:9/"})
    outcome = dapr("invoke", "-a", "orders", "-m", "x")
    assert (outcome.code, outcome.out) == (0, f"elsewhere\n{INVOKED}")


@pytest.mark.parametrize(
    ("status", "line"), [(400, "400 Bad Request"), (503, "503 Service Unavailable"), (599, "599")]
)
def test_an_answer_that_is_an_error(status: int, line: str, dapr, sidecar: Sidecar) -> None:
    sidecar.answer = Answered(status, b"why")
    outcome = dapr("invoke", "-a", "orders", "-m", "x")
    assert (outcome.code, outcome.out) == (1, "")
    first, second = outcome.err.splitlines()
    assert first == f"❌  error invoking app orders: {line}"
    assert second == "ℹ️  why"  # noqa: RUF001 - the sign
    outcome = dapr("publish", "-i", "orders", "-p", "bus", "-t", "a/b")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines()[0] == f"❌  error publishing topic a/b: {line}"


CLOUD_EVENT = '{"id":"1","source":"s","specversion":"1.0","type":"t","data":{}}'


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (CLOUD_EVENT, "application/cloudevents+json"),
        (CLOUD_EVENT.replace('"data"', '"datum"'), "application/json"),
        ("plain", "application/json"),
    ],
)
def test_publish(data: str, content_type: str, dapr, sidecar: Sidecar) -> None:
    where = ["--publish-app-id", "orders", "--pubsub", "my bus", "--topic", "new/orders"]
    metadata = '{"ttlInSeconds": "60", "rawPayload": true, "n": 7}'
    outcome = dapr("publish", *where, "--data", data, "--metadata", metadata)
    assert (outcome.code, outcome.out, outcome.err) == (0, PUBLISHED, "")
    (asked,) = sidecar.asked
    assert (asked.method, asked.path) == ("POST", "/v1.0/publish/my bus/new/orders")
    assert asked.query == {
        "metadata.ttlInSeconds": "60",
        "metadata.rawPayload": "true",
        "metadata.n": "7",
    }
    assert (asked.headers["content-type"], asked.body) == (content_type, data.encode())


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["invoke", "-a", "orders", "-m", "x"], "error invoking app orders: "),
        (["publish", "-i", "orders", "-p", "b", "-t", "x"], "error publishing topic x: "),
    ],
)
def test_a_sidecar_that_is_gone(
    command: list[str], message: str, dapr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    process = Process(1, 0, ("daprd", "--app-id=orders", "--dapr-http-port=9"), datetime.now(UTC))
    monkeypatch.setattr("dapr_cli.instances.daprd_processes", lambda: [process])
    outcome = dapr(*command)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == f"❌  {message}127.0.0.1:9: Connection refused\n"
    outcome = dapr(*command, "-u", str(tmp_path))
    assert outcome.err == (
        f"❌  {message}{tmp_path}/dapr-orders-http.socket: No such file or directory\n"
    )
