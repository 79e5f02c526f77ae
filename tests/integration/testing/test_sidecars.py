"""What the package ships for other people's tests, as they use it."""

from __future__ import annotations

import queue
import re
import subprocess
import sys
from pathlib import Path

import pytest
from harness.http_call import call

from dapr_testing import Answer, Request, SidecarError, Sidecars, component, manifest

EVENTS = [{"pubsubname": "pubsub", "topic": "events", "route": "/events"}]


def test_two_apps_in_one_program() -> None:
    """A context manager for any Python program: two apps that invoke, store, publish."""
    events: queue.Queue[object] = queue.Queue()

    def orders(request: Request) -> object:
        if request.path == "/dapr/subscribe":
            return EVENTS
        if request.path == "/events":
            events.put(request.json["data"])
            return {"status": "SUCCESS"}
        if request.path == "/teapot":
            return Answer("short and stout", 418, {"X-Kind": "tea"})
        return f"{request.method} {request.path}" if request.path == "/hello" else None

    with Sidecars() as sidecars:
        back = sidecars.start("orders", app=orders)
        front = sidecars.start("front")
        invoke = "/v1.0/invoke/orders/method"
        assert call(front.http_port, "PUT", f"{invoke}/hello").body == b"PUT /hello"
        answer = call(front.http_port, "GET", f"{invoke}/teapot")
        assert (answer.status, answer.headers["x-kind"]) == (418, "tea")
        assert call(front.http_port, "GET", f"{invoke}/nothing").status == 404
        state = [{"key": "a", "value": 1}]
        assert call(back.http_port, "POST", "/v1.0/state/statestore", state).status == 204
        assert call(back.http_port, "GET", "/v1.0/state/statestore/a").json == 1
        assert call(front.http_port, "POST", "/v1.0/publish/pubsub/events", "hi").status == 204
        assert events.get(timeout=20) == "hi"
        assert call(back.metrics_port, "GET", "/").status == 200
        assert back.environment["DAPR_GRPC_PORT"] == back.grpc_address.rpartition(":")[2]
        kept = sidecars.started
    assert [one.stop() for one in kept] == [0, 0], "they ended in order"


def test_components_configuration_and_flags() -> None:
    wanted = [
        component("mine", "state.in-memory"),
        manifest("HTTPEndpoint", "ext", {"baseUrl": "http://127.0.0.1:1"}),
    ]
    denied = {"api": {"denied": [{"name": "state", "version": "v1", "protocol": "http"}]}}
    with Sidecars() as sidecars:
        one = sidecars.start(components=wanted, config=denied, flags=["--log-level=debug"])
        body = call(one.http_port, "GET", "/v1.0/metadata").json
        assert [each["name"] for each in body["components"]] == ["mine"]
        assert body["httpEndpoints"] == [{"name": "ext"}]
        assert call(one.http_port, "GET", "/v1.0/state/mine/a").status == 404
        assert "Log level set to: debug" in one.log


def test_a_sidecar_that_cannot_start_says_why() -> None:
    with Sidecars() as sidecars, pytest.raises(SidecarError, match="ended with code 1") as caught:
        sidecars.start("wrong", components=[component("x", "state.nothing")])
    assert "state.nothing/v1" in str(caught.value)


def test_a_killed_one_is_gone() -> None:
    with Sidecars() as sidecars:
        one = sidecars.start()
        one.kill()
        with pytest.raises(OSError):
            call(one.http_port, "GET", "/v1.0/healthz")


_USERS_TESTS = """
import json, urllib.request

import pytest


@pytest.mark.parametrize("number", range(4))
def test_state(dapr_sidecar, number):
    sidecar = dapr_sidecar("orders")
    body = json.dumps([{"key": "k", "value": number}]).encode()
    headers = {"Content-Type": "application/json"}
    url = sidecar.http_url + "/v1.0/state/statestore"
    urllib.request.urlopen(urllib.request.Request(url, body, headers)).close()
    assert json.load(urllib.request.urlopen(url + "/k")) == number


def test_that_fails(dapr_sidecars):
    dapr_sidecars.start("orders", app=lambda request: "hi")
    raise AssertionError("on purpose")
"""


def test_the_fixtures_in_parallel_and_the_log_of_a_failure(tmp_path: Path) -> None:
    (tmp_path / "test_users.py").write_text(_USERS_TESTS)
    command = [sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", "."]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False
    )
    assert "1 failed, 4 passed" in done.stdout, done.stdout + done.stderr
    assert "daprd orders" in done.stdout
    shown = [line for line in done.stdout.splitlines() if "dapr initialized." in line]
    assert len(shown) == 1
    assert re.match(r"[\d:.]{12} info    dapr\.runtime: dapr initialized\.", shown[0])


def test_a_sidecar_that_does_not_start_is_shown_at_the_users_line(tmp_path: Path) -> None:
    (tmp_path / "test_users.py").write_text(
        "from dapr_testing import component\n"
        "def test_it(dapr_sidecar):\n"
        "    dapr_sidecar('a', components=[component('x', 'state.no')])\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "."]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert "test_users.py:3: SidecarError" in done.stdout, done.stdout + done.stderr
    assert "dapr_testing/sidecar.py" not in done.stdout, "nothing of our own stack"
    assert re.search(r"E +[\d:.]{12} fatal   dapr\.runtime: .*state\.no/v1", done.stdout)


def test_an_app_that_raises_answers_500(capfd: pytest.CaptureFixture[str]) -> None:
    def app(request: Request) -> object:
        return {"none": {}}[request.path]

    with Sidecars() as sidecars:
        one = sidecars.start("broken", app=app)
        answer = call(one.http_port, "GET", "/v1.0/invoke/broken/method/hello")
    assert (answer.status, answer.body) == (500, b"the app raised KeyError: '/hello'")
    assert 'return {"none": {}}[request.path]' in capfd.readouterr().err
