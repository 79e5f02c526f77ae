"""What pods of ``dapr run -k`` say, and the logs of their containers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from harness.fake_api_server import failure, fake_api_server

from dapr_cli.kube.runs.logs import ContainerLog
from dapr_cli.kube.runs.pods import NO_SIDECAR, RunPod, deployment_failure, why_late
from dapr_common.http.messages import Response

READY = [{"type": "Ready", "status": "True"}]
RUNNING = {"running": {}}


def state(name: str, state: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "state": state, **more}


def pod(
    *states: dict[str, Any],
    sidecar: str = "containers",
    conditions: Any = (),
    deleting: bool = False,
    **status: Any,
) -> RunPod:
    spec: dict[str, list[dict[str, str]]] = {"containers": [{"name": "a"}], "initContainers": []}
    if sidecar:
        spec[sidecar].append({"name": "daprd"})
    metadata: dict[str, Any] = {"name": "a-1", "uid": "u", "labels": {"app": "a"}}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    own = [one for one in states if one["name"] == "a" or sidecar != "initContainers"]
    init = [one for one in states if one not in own]
    found = {
        "conditions": conditions,
        "containerStatuses": own,
        "initContainerStatuses": init,
        **status,
    }
    return RunPod.of({"metadata": metadata, "spec": spec, "status": found})


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


CRASHED = {"terminated": {"exitCode": 3, "reason": "Error"}}


@pytest.mark.parametrize("sidecar", ["containers", "initContainers"])
def test_a_pod_that_is_ready(sidecar: str) -> None:
    found = pod(sidecar=sidecar, conditions=READY)
    assert (found.is_ready, found.reason, found.containers) == (True, "", ("a", "daprd"))


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (pod(state("a", waiting("ErrImagePull", "no such image"))), "ErrImagePull: no such image"),
        (
            pod(state("a", waiting("CrashLoopBackOff", "back-off 10s"), lastState=CRASHED)),
            "CrashLoopBackOff: a ended with exit code 3 (Error)",
        ),
        (
            pod(
                state("daprd", waiting("CrashLoopBackOff"), lastState=CRASHED),
                sidecar="initContainers",
            ),
            "CrashLoopBackOff: daprd ended with exit code 3 (Error)",
        ),
        (
            pod(
                conditions=[
                    {"type": "PodScheduled", "status": "False", "message": "0/1 nodes: no memory"}
                ]
            ),
            "0/1 nodes: no memory",
        ),
        (
            pod(state("a", RUNNING, ready=True), state("daprd", RUNNING, ready=False)),
            "daprd did not pass the checks of the cluster yet",
        ),
        (pod(state("a", CRASHED), state("daprd", RUNNING)), "a ended with exit code 3 (Error)"),
        (pod(), "its pod is being started"),
        (pod(sidecar="", conditions=READY), NO_SIDECAR),
        (
            pod(phase="Failed", reason="Evicted", message="low on memory", conditions=READY),
            "its pod has ended (Evicted: low on memory)",
        ),
        (pod(conditions=READY, deleting=True), "its pod is being deleted"),
    ],
)
def test_why_a_pod_is_not_ready(found: RunPod, reason: str) -> None:
    assert (found.is_ready, found.reason) == (False, reason)
    assert why_late("a", [found], "x") == reason


def test_why_there_is_no_pod() -> None:
    assert why_late("b", [pod()], "") == "it has no pod yet"
    condition = {"type": "ReplicaFailure", "status": "True", "message": "over its quota"}
    text = deployment_failure({"status": {"conditions": [condition]}})
    assert why_late("a", [], text) == "over its quota"
    assert deployment_failure({"status": {"conditions": [{**condition, "status": "False"}]}}) == ""


# --- logs -----------------------------------------------------------------------------------

FIRST = "2026-01-02T03:04:05.100000000Z"
SECOND = "2026-01-02T03:04:05.100000001Z"
THIRD = "2026-01-02T05:04:06.5+02:00"


async def logged(answers: list[Response], over_after: int, monkeypatch: Any) -> tuple[str, list]:
    """What was passed on, and the queries of the streams."""
    monkeypatch.setattr("dapr_cli.kube.runs.logs._PAUSE_SECONDS", 0.0)
    written: list[bytes] = []
    async with fake_api_server() as fake:
        fake.line.extend(answers)
        log = ContainerLog(fake.login, "a-1", "daprd", written.append)
        async with asyncio.timeout(30):
            await log.follow(lambda: len(fake.asked) >= over_after)
        assert {path for _, path, _ in fake.asked} == {"/api/v1/namespaces/default/pods/a-1/log"}
        return b"".join(written).decode(), [query for _, _, query in fake.asked]


def stream(*lines: str) -> Response:
    return Response(200, [], "".join(f"{line}\n" for line in lines).encode())


async def test_a_stream_that_ends_is_begun_anew_where_it_was(monkeypatch: Any) -> None:
    text, queries = await logged(
        [
            failure(400, "BadRequest", "container is waiting to start"),
            stream(f"{FIRST} one", f"{SECOND} two"),
            failure(500, "InternalError", "the node does not answer"),
            stream(f"{FIRST} one", f"{SECOND} two", f"{THIRD} three", "unable to retrieve logs"),
            stream(f"{THIRD} three"),
        ],
        4,
        monkeypatch,
    )
    assert text == "one\ntwo\nthree\n"
    plain = "container=daprd&follow=true&timestamps=true"
    since = f"{plain}&sinceTime=2026-01-02T03:04:0"
    assert queries == [plain, plain, f"{since}5Z", f"{since}5Z", f"{since}6Z"]


async def test_the_end_of_a_pod_ends_its_log(monkeypatch: Any) -> None:
    text, queries = await logged(
        [stream(f"{FIRST} one"), failure(404, "NotFound"), stream(f"{THIRD} three")],
        99,
        monkeypatch,
    )
    assert (text, len(queries)) == ("one\n", 2)


async def test_a_very_long_line_is_passed_on_in_pieces(monkeypatch: Any) -> None:
    long = "x" * 300000
    text, _ = await logged([stream(f"{FIRST} {long}", f"{SECOND} y")], 0, monkeypatch)
    assert text == f"{long}\ny\n"
