"""Rows, reasons, values and words of ``dapr -k``: what needs no cluster."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from harness.fake_api_server import answer, failure, fake_api_server, listing

from dapr_cli.cluster_setup import image_values
from dapr_cli.errors import CliError
from dapr_cli.kube import shipped, trust_bundle
from dapr_cli.kube.control_plane import (
    certificate_values,
    has_certificates,
    merged,
    without_tag,
)
from dapr_cli.kube.helm import Helm, HelmError
from dapr_cli.kube.pod_log import pod_log
from dapr_cli.kube.pods import SidecarPod, image_tag, status_rows
from dapr_cli.kube.readiness import pod_reason, workload
from dapr_cli.kube.resources import configuration_row
from dapr_common.http.messages import Response
from dapr_common.kube.api_errors import NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.security.authority import Life, new_bundle

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 1, 2, tzinfo=UTC)
METADATA = {"namespace": "ns", "name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("sentry", ""),
        ("registry:5000/dapr/sentry", ""),
        ("registry:5000/dapr/sentry:1.18.3", "1.18.3"),
        ("sentry:edge@sha256:00", "edge"),
    ],
)
def test_image_tags(image: str, tag: str) -> None:
    assert image_tag(image) == tag


def status_of(**more: Any) -> dict[str, Any]:
    return {"name": "dapr-sentry", **more}


@pytest.mark.parametrize(
    ("status", "healthy", "state"),
    [
        ({"phase": "Pending"}, "False", "Pending"),
        ({"containerStatuses": [status_of(ready=True, state={"running": {}})]}, "True", "Running"),
        ({"containerStatuses": [status_of(state={"terminated": {}})]}, "False", "Terminated"),
        (
            {"containerStatuses": [status_of(state={"waiting": {"reason": "CrashLoopBackOff"}})]},
            "False",
            "Waiting (CrashLoopBackOff)",
        ),
        (
            {
                "containerStatuses": [
                    {"name": "added", "ready": True, "state": {"running": {}}},
                    {"name": "dapr-sentry", "state": {"waiting": {"reason": "ErrImagePull"}}},
                ]
            },
            "False",
            "Waiting (ErrImagePull)",
        ),
    ],
)
def test_states_of_the_control_plane(status: dict[str, Any], healthy: str, state: str) -> None:
    metadata = {**METADATA, "labels": {"app": "dapr-sentry"}}
    containers = [{"name": "dapr-sentry", "image": "s:1"}, {"name": "added", "image": "a:1"}]
    pod = {"metadata": metadata, "spec": {"containers": containers}, "status": status}
    (row,) = status_rows([pod], NOW)
    assert (row["HEALTHY"], row["STATUS"], row["AGE"]) == (healthy, state, "24h")
    assert row["CREATED"] == "2026-01-01 00:00.00"


def test_the_sidecars_arguments_may_follow_its_command() -> None:
    container = {"name": "daprd", "command": ["/daprd"], "args": ["--app-port=1", "--app-id", "a"]}
    pod = SidecarPod.of({"metadata": METADATA, "spec": {"containers": [container]}})
    assert pod is not None
    assert (pod.app_id, pod.app_port) == ("a", "1")
    assert SidecarPod.of({"metadata": METADATA, "spec": {"containers": [{"name": "x"}]}}) is None


@pytest.mark.parametrize(
    ("spec", "tracing", "metrics"),
    [
        ({}, "false", "true"),
        ({"tracing": {"samplingRate": "1"}, "metric": {"enabled": False}}, "true", "false"),
        ({"tracing": {"samplingRate": "0"}, "metrics": {"enabled": True}}, "false", "true"),
        ({"tracing": {"samplingRate": "often"}}, "false", "true"),
    ],
)
def test_configurations(spec: dict[str, Any], tracing: str, metrics: str) -> None:
    row = configuration_row({"metadata": METADATA, "spec": spec}, NOW)
    assert (row["TRACING-ENABLED"], row["METRICS-ENABLED"]) == (tracing, metrics)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({}, ""),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "A", "message": "b"}}}]},
            "A: b",
        ),
        (
            {"containerStatuses": [{"name": "x", "state": {"terminated": {"exitCode": 3}}}]},
            "x ended with exit code 3",
        ),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no nodes"}]},
            "no nodes",
        ),
    ],
)
def test_what_keeps_a_pod_from_being_ready(status: dict[str, Any], reason: str) -> None:
    assert pod_reason({"status": status}) == reason


@pytest.mark.parametrize(
    ("spec", "status", "is_ready"),
    [
        ({}, {"observedGeneration": 2, "updatedReplicas": 1, "readyReplicas": 1}, True),
        ({}, {"observedGeneration": 1, "updatedReplicas": 1, "readyReplicas": 1}, False),
        ({}, {"observedGeneration": 2, "updatedReplicas": 0, "readyReplicas": 1}, False),
        ({"replicas": 3}, {"observedGeneration": 2, "updatedReplicas": 3}, False),
        ({"replicas": 0}, {"observedGeneration": 2}, True),
    ],
)
def test_workloads(spec: dict[str, Any], status: dict[str, Any], is_ready: bool) -> None:
    body = {"metadata": {"name": "x", "generation": 2}, "spec": spec, "status": status}
    assert workload(body).is_ready is is_ready


# --- values -------------------------------------------------------------------------------------


def test_values_are_merged_deeply() -> None:
    below = {"a": {"b": 1, "c": 2}, "d": 3}
    assert merged(below, {"a": {"c": 4}, "d": {"e": 5}}) == {"a": {"b": 1, "c": 4}, "d": {"e": 5}}
    assert below == {"a": {"b": 1, "c": 2}, "d": 3}


def test_an_upgrade_forgets_the_version_only() -> None:
    given = {"global": {"tag": "1", "registry": "x"}, "dapr_sentry": {"logLevel": "debug"}}
    assert without_tag(given) == {"global": {"registry": "x"}, "dapr_sentry": {"logLevel": "debug"}}
    assert without_tag({}) == {"global": {}}


def test_certificates_as_values() -> None:
    bundle = new_bundle("cluster.local", "dapr-system", Life.of(datetime.now(UTC)))
    values = certificate_values(bundle)
    assert values["dapr_sentry"]["tls"]["root"] == {"certPEM": bundle.anchors_pem.decode()}
    assert has_certificates(values)
    assert not has_certificates({"dapr_sentry": {"logLevel": "debug"}})
    assert not has_certificates({})


@pytest.mark.parametrize(
    ("version", "registry", "env", "images"),
    [
        ("", "", {}, {}),
        ("latest", "", {}, {}),
        ("v1.18.3", "", {}, {}),  # what this runtime speaks: the chart's own images
        ("v2.0.0", "x/y/", {}, {"tag": "2.0.0", "registry": "x/y"}),
        ("", "", {"DAPR_RUNTIME_VERSION": "3", "DAPR_IMAGE_REGISTRY": "z"}, {"tag": "3"}),
    ],
)
def test_images(
    version: str,
    registry: str,
    env: dict[str, str],
    images: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    found = image_values(version, registry).get("global", {})
    assert images.items() <= found.items()
    assert set(found) - set(images) == ({"registry"} if "DAPR_IMAGE_REGISTRY" in env else set())


# --- what comes with the CLI --------------------------------------------------------------------


def test_the_definitions_convert_where_the_operator_is() -> None:
    found = {body["metadata"]["name"]: body for body in shipped.definitions("somewhere")}
    assert len(found) == 7
    webhook = found["subscriptions.dapr.io"]["spec"]["conversion"]["webhook"]
    assert webhook["clientConfig"]["service"]["namespace"] == "somewhere"


def test_a_wheel_has_the_chart(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    chart = {
        str(path.relative_to(ROOT / "charts" / "dapr"))
        for path in (ROOT / "charts" / "dapr").rglob("*")
        if path.is_file()
    }
    assert {f"dapr_cli/data/chart/{name}" for name in chart} <= names
    # And the CLI of that wheel finds it.
    code = "from dapr_cli.kube.shipped import *; print(chart(), len([*definitions('x')]))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == [str(tmp_path / "site" / "dapr_cli" / "data" / "chart"), "7"]


# --- Helm ---------------------------------------------------------------------------------------


def helm(folder: Path, script: str) -> Helm:
    """A stand-in that says what a test wants to hear."""
    path = folder / "helm"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Helm(str(path))


async def test_helms_error_without_its_warnings(tmp_path: Path) -> None:
    stand_in = helm(tmp_path, "echo WARNING: x >&2; echo Error: it is so >&2; exit 1")
    with pytest.raises(HelmError, match=r"^helm list: it is so$"):
        await stand_in.run("list")


async def test_values_go_by_the_input(tmp_path: Path) -> None:
    stand_in = helm(tmp_path, f"echo $@ > {tmp_path}/args; cat > {tmp_path}/values")
    await stand_in.put(["install"], "ns", "chart", {"key": "secret"}, ["--wait"], 7)
    assert (tmp_path / "values").read_text() == '{"key": "secret"}'
    words = (tmp_path / "args").read_text().split()
    assert words[:5] == ["install", "dapr", "chart", "--namespace", "ns"]
    assert words[5:] == ["--values", "-", "--timeout", "7s", "--wait"]


async def test_helm_is_ended_with_the_command(tmp_path: Path) -> None:
    script = f"trap 'echo ended > {tmp_path}/end; exit 1' TERM; cat; echo > {tmp_path}/begun"
    stand_in = helm(tmp_path, f"{script}; sleep 40 >/dev/null 2>&1 & wait")
    running = asyncio.ensure_future(stand_in.run("install", given="values"))
    async with asyncio.timeout(30):
        while not (tmp_path / "begun").exists():
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (tmp_path / "end").read_text() == "ended\n"


# --- against a stand-in for the API server ------------------------------------------------------


async def test_a_log_is_passed_on_as_it_comes() -> None:
    async with fake_api_server() as fake:
        fake.line.append(Response(200, [], b"one\ntwo\n"))
        got = [chunk async for chunk in pod_log(fake.login, "ns", "pod", "daprd")]
        assert b"".join(got) == b"one\ntwo\n"
        path = "/api/v1/namespaces/ns/pods/pod/log"
        assert fake.asked == [("GET", path, "container=daprd")]
        assert fake.headers[0]["authorization"] == "Bearer t0k3n"
        fake.line.append(failure(404, "NotFound"))
        fake.line.popleft()
        with pytest.raises(NotFoundError, match=f"GET {path}: no"):
            [chunk async for chunk in pod_log(fake.login, "ns", "pod", "daprd")]


def secret(version: int, **data: str) -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": trust_bundle.NAME, "resourceVersion": str(version)}
    return {"metadata": metadata, "data": data}


async def test_several_bundles_are_told_apart() -> None:
    async with fake_api_server() as fake:
        other = secret(1)
        other["metadata"]["namespace"] = "other"
        fake.line.extend([listing(1, secret(1), other), answer(secret(1)), answer(other)])
        async with KubeClient(fake.login) as client:
            with pytest.raises(CliError, match="in the namespaces ns, other"):
                await trust_bundle.find_bundle(client)


async def test_what_somebody_else_changed_meanwhile_stays() -> None:
    bundle = new_bundle("cluster.local", "ns", Life.of(datetime.now(UTC)))
    seen = trust_bundle.TrustBundle("ns", secret(1), secret(1))
    async with fake_api_server() as fake, KubeClient(fake.login) as client:
        fake.line.append(failure(409, "Conflict"))
        with pytest.raises(CliError, match="was changed by somebody else meanwhile"):
            await trust_bundle.replace(client, seen, bundle)
        assert [method for method, *_ in fake.asked] == ["PUT"]
        # Somebody has written the ConfigMap: the Secret is taken back.
        fake.asked.clear()
        fake.line.clear()
        theirs = secret(7, **{"ca.crt": "theirs"})
        fake.line.extend([answer(secret(2)), failure(409, "Conflict"), answer(theirs)])
        fake.line.append(answer(secret(3)))
        with pytest.raises(CliError, match="was changed by somebody else meanwhile"):
            await trust_bundle.replace(client, seen, bundle)
        assert [(method, path.split("/")[-2]) for method, path, _ in fake.asked] == [
            ("PUT", "secrets"),
            ("PUT", "configmaps"),
            ("GET", "configmaps"),
            ("PUT", "secrets"),
        ]
        assert b'"data":{}' in fake.bodies[-1]


async def test_ctrl_c_waits_until_both_are_written() -> None:
    bundle = new_bundle("cluster.local", "ns", Life.of(datetime.now(UTC)))
    seen = trust_bundle.TrustBundle("ns", secret(1), secret(1))
    async with fake_api_server() as fake, KubeClient(fake.login) as client:
        writing = asyncio.ensure_future(trust_bundle.replace(client, seen, bundle))

        def interrupt(_: object) -> Response:
            writing.cancel()
            return answer(secret(2))

        fake.line.extend([interrupt, answer(secret(2))])
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert [path.split("/")[-2] for _, path, _ in fake.asked] == ["secrets", "configmaps"]
