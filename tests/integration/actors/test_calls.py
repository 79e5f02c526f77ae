"""Method calls: from the API to the app, here and on another sidecar, one turn at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import grpc
import pytest
from harness.http_call import call
from harness.placement_process import Placement
from harness.sidecar import Sidecar
from integration.actors.hosts import Host, call_actor, client, host, runtime, until, wait_hosts

from dapr_common.wire.dapr.proto.runtime.v1 import actors_pb2

CONFIG = {
    "entities": ["Turn", "Deep"],
    "entitiesConfig": [{"entities": ["Deep"], "reentrancy": {"enabled": True, "maxStackDepth": 3}}],
}
TRACE = "0af7651916cd43dd8448eb211c80319c"
INVOKE = "/dapr.proto.runtime.v1.Dapr/InvokeActor"


@pytest.fixture(scope="module")
def here(placement: Placement) -> Iterator[Host]:
    with host(placement.address, CONFIG, name="calls-host") as found:
        wait_hosts(placement, "Turn", 1)
        yield found


@pytest.fixture(scope="module")
def there(placement: Placement, here: Host) -> Iterator[Sidecar]:
    with client(placement.address) as found:
        yield found


@pytest.fixture(params=["local", "remote"])
def caller(request: pytest.FixtureRequest, here: Host, there: Sidecar) -> Sidecar:
    return here.sidecar if request.param == "local" else there


def test_the_app_gets_the_call_and_who_made_it(here: Host, there: Sidecar) -> None:
    said = {
        "X-Mine": "1",
        "Content-Type": "text/x",
        "dapr-CALLER-app-id": "forged",
        "Dapr-Caller-Namespace": "forged",
        "X-Dapr-Remote": "forged",
        "Connection": "dapr-api-call, x-dapr-remote, dapr-caller-app-id",
        "traceparent": f"00-{TRACE}-{'1' * 16}-01",
    }
    for sidecar in (here.sidecar, there):
        path = "/v1.0/actors/Turn/1/method/echo?a=b%20c"
        answer = call(sidecar.http_port, "GET", path, b"text", said)
        assert answer.status == 200
        seen = answer.json
        assert (seen["path"], seen["body"]) == ("/actors/Turn/1/method/echo?a=b%20c", "text")
        headers = seen["headers"]
        assert headers["dapr-caller-app-id"] == sidecar.app_id
        assert headers["dapr-caller-namespace"] == "default"
        assert headers["dapr-api-call"] == "true"
        assert (headers["x-mine"], headers["content-type"]) == ("1", "text/x")
        assert headers.get("x-dapr-remote") == (None if sidecar is here.sidecar else "true")
        assert headers["traceparent"].startswith(f"00-{TRACE}-")
        assert "dapr-reentrancy-id" not in headers
        assert not [name for name in headers if name.startswith("x-forwarded")]


def test_a_method_with_a_slash(caller: Sidecar) -> None:
    answer = call(caller.http_port, "PUT", "/v1.0/actors/Turn/1/method/a%2Fb")
    assert answer.code == "ERR_ACTOR_INVOKE_METHOD"
    assert answer.json["message"] == (
        "error invoke actor method: actor method not found: actors/Turn/1/method/a/b"
    )


def test_the_largest_body_reaches_the_actor_wherever_it_lives(caller: Sidecar) -> None:
    path, largest = "/v1.0/actors/Turn/1/method/mirror", b"x" * (4 << 20)
    answer = call(caller.http_port, "POST", path, largest)
    assert (answer.status, answer.body == largest) == (200, True)
    too_large = call(caller.http_port, "POST", path, largest + b"x")
    assert (too_large.status, too_large.code) == (400, "ERR_BODY_READ")


def test_what_the_app_refuses(caller: Sidecar) -> None:
    failed = call_actor(caller, "Turn/1", "fail")
    assert failed.status == 500
    assert failed.json == {
        "errorCode": "ERR_ACTOR_INVOKE_METHOD",
        "message": "error invoke actor method: error from actor service: (500) it failed",
    }
    refused = call_actor(caller, "Turn/1", "refuse")
    assert (refused.status, refused.json) == (200, {"refused": "Turn/1"})
    assert refused.headers["x-daprerrorresponseheader"] == "1"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("Turn/a%2Fb/method/echo", 'invalid actorId: name contains forbidden character: "a/b"'),
        ("T%23/1/method/echo", 'invalid actorType: name contains forbidden character: "T#"'),
        (
            "Turn/1/method/..%2F..%2Fadmin",
            'invalid actor method: name is a relative path component: ".."',
        ),
    ],
)
def test_names_that_would_lead_elsewhere(here: Host, path: str, text: str) -> None:
    answer = call(here.sidecar.http_port, "POST", f"/v1.0/actors/{path}")
    assert (answer.status, answer.code) == (400, "ERR_BAD_REQUEST")
    assert answer.json["message"] == f"invalid request: {text}"


def test_a_type_nobody_hosts(caller: Sidecar) -> None:
    began = time.monotonic()
    answer = call_actor(caller, "Nobody/x")
    assert answer.code == "ERR_ACTOR_INVOKE_METHOD"
    assert answer.json["message"] == (
        "error invoke actor method: failed to lookup actor: api error: "
        "code = FailedPrecondition desc = did not find address for actor 'Nobody/x'"
    )
    assert 4.5 < time.monotonic() - began < 15


def test_one_turn_at_a_time(caller: Sidecar, here: Host) -> None:
    actor = f"Turn/turns-{caller.app_id}"
    threads = [
        threading.Thread(target=call_actor, args=(caller, actor, "slow?seconds=0.05"))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reports = here.app.wait_reports(8, event="call", actor=actor)
    assert [report["depth"] for report in reports] == [1] * 8


def test_a_call_comes_back_to_the_actor_it_came_from(caller: Sidecar) -> None:
    a, b = f"Deep/a-{caller.app_id}", f"Deep/b-{caller.app_id}"
    assert call_actor(caller, a, "chain", [b, a]).json == {"depth": 3}
    empty = {"Dapr-Reentrancy-Id": ""}  # as none
    assert call_actor(caller, a, "chain", [b, a], headers=empty).json == {"depth": 3}
    too_deep = call_actor(caller, a, "chain", [a, a, a])
    assert too_deep.status == 500
    assert "maximum stack depth exceeded" in too_deep.json["message"]


def test_over_grpc(caller: Sidecar) -> None:
    with grpc.insecure_channel(caller.grpc_address) as channel:
        invoke = channel.unary_unary(
            INVOKE,
            actors_pb2.InvokeActorRequest.SerializeToString,
            actors_pb2.InvokeActorResponse.FromString,
        )
        request = actors_pb2.InvokeActorRequest(
            actor_type="Turn",
            actor_id="g",
            method="echo",
            data=b"data",
            metadata={
                "X-Mine": "1",
                "Dapr-Caller-App-Id": "forged",
                "A\r\nX-Injected": "1",  # what no header may be named is left out
                "two words": "1",
            },
        )
        answer = invoke(request, timeout=20).data
        assert b"injected" not in answer
        assert b"words" not in answer
        assert b'"body": "data"' in answer
        assert b'"x-mine": "1"' in answer
        assert b"forged" not in answer
        request.actor_id = "a/b"
        with pytest.raises(grpc.RpcError) as refused:
            invoke(request, timeout=20)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        request.actor_id, request.method = "g", "fail"
        with pytest.raises(grpc.RpcError) as failed:
            invoke(request, timeout=20)
        assert failed.value.code() is grpc.StatusCode.INTERNAL
        assert failed.value.details() == (
            "error invoke actor method: error from actor service: (500) it failed"
        )


def test_the_metadata_api_shows_what_is_hosted(here: Host, there: Sidecar) -> None:
    here.call("Deep/shown")
    found = runtime(here.sidecar)
    assert found["runtimeStatus"] == "RUNNING"
    assert found["hostReady"] is True
    assert found["placement"] == "placement: connected"
    assert [entry["type"] for entry in found["activeActors"]] == ["Deep", "Turn"]
    assert "activeActors" not in runtime(there)


def test_without_placement_every_route_says_so() -> None:
    with Sidecar() as sidecar:
        root = "/v1.0/actors/T/1"
        for method, path in [
            ("POST", "method/m"),
            ("GET", "state/k"),
            ("POST", "state"),
            ("POST", "reminders/r"),
            ("DELETE", "timers/t"),
        ]:
            answer = call(sidecar.http_port, method, f"{root}/{path}", b"{}")
            assert (answer.status, answer.code) == (400, "ERR_ACTOR_NO_PLACEMENT"), path
        assert runtime(sidecar) == {
            "runtimeStatus": "DISABLED",
            "hostReady": False,
            "placement": "placement: disconnected",
        }


def test_a_sidecar_without_a_store_hosts_nothing_and_calls_others(
    placement: Placement, here: Host
) -> None:
    config = {"entities": ["Turn", "Storeless"]}
    with host(placement.address, config, name="calls-storeless", resources=()) as storeless:
        storeless.sidecar.wait_line("no state store has actorStateStore set to true")
        assert storeless.call("Turn/1").json["app"] == here.sidecar.app_id
        assert storeless.active() == {}
        answer = call(storeless.sidecar.http_port, "GET", "/v1.0/actors/Turn/1/state/k")
        assert answer.code == "ERR_ACTOR_RUNTIME_NOT_FOUND"


def test_a_sidecar_is_ready_once_it_has_reached_placement() -> None:
    with Placement() as late:
        port = late.port
    flags = [f"--placement-host-address=127.0.0.1:{port}"]
    with Sidecar(flags=flags, ready="healthz/outbound") as sidecar:
        answer = call(sidecar.http_port, "GET", "/v1.0/healthz")
        assert answer.json["message"] == "dapr is not ready: [internal-placement-service]"
        with Placement(port=port):
            until(lambda: sidecar.get_status("/v1.0/healthz") == 204, "healthz is 204")
        until(lambda: runtime(sidecar)["hostReady"] is False, "the loss of placement is noticed")
        assert sidecar.get_status("/v1.0/healthz") == 204


def test_types_of_the_runtime_of_other_apps_are_left_out(placement: Placement) -> None:
    """Placement refuses whoever reports one of them, with all its types."""
    foreign = "dapr.internal.default.other.workflow"
    with host(placement.address, {"entities": [foreign, "Left"]}, name="calls-foreign") as here:
        here.sidecar.wait_line(f"actor type '{foreign}' is not hosted")
        assert here.call("Left/1").status == 200
        assert set(here.active()) == {"Left"}
