"""``dapr run -k -f`` and ``dapr stop -k -f`` at a real API server; a stand-in makes the pods."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.apiserver import ApiServer
from harness.cli import UP, Dapr, Run
from harness.kube_cluster import Cluster
from harness.run_pods import pods_of_runs, status

from dapr_cli.console import Console
from dapr_cli.errors import CliError
from dapr_cli.kube.cluster import UserClient
from dapr_cli.kube.kinds import DEPLOYMENTS, SERVICES
from dapr_cli.kube.runs.fleet import run_on_cluster
from dapr_cli.run_file import read
from dapr_common.kube.api_errors import AlreadyExistsError, NotFoundError
from dapr_common.kube.kinds import CONFIGURATIONS, PODS, Kind, KubeObject, Selection
from dapr_common.kube.login import kubeconfig_login

NAMESPACE = "default"
WAITING = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}


@pytest.fixture
async def default(cluster: Cluster) -> AsyncIterator[Cluster]:
    """Its namespace ``default``, in which pods may be made, and nothing is left of a run."""
    with suppress(AlreadyExistsError):
        await cluster.account(NAMESPACE, "default")
    yield cluster
    for kind in (DEPLOYMENTS, SERVICES, PODS):
        for body in (await cluster.client.list_all(Selection(kind, NAMESPACE, labels="app"))).items:
            with suppress(NotFoundError):
                await cluster.client.delete(kind, body["metadata"]["name"], NAMESPACE)


@pytest.fixture
def ids() -> tuple[str, str]:
    """Of two apps of one test."""
    end = secrets.token_hex(4)
    return f"one-{end}", f"two-{end}"


def write(folder: Path, *ids: str, **more: Any) -> Path:
    apps = []
    for app_id in ids:
        (folder / app_id).mkdir(exist_ok=True)
        apps.append({"appID": app_id, "appDirPath": app_id, "containerImage": "x", **more})
    file = folder / "dapr.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "apps": apps}))
    return file


def running(kube: ApiServer, file: Path, exit_code: int = 0) -> Run:
    """``dapr run -k``; it is left with SIGTERM."""
    env = {"KUBECONFIG": str(kube.admin)}
    return Dapr(file.parent).run("-k", "-f", str(file), env=env, exit_code=exit_code)


async def names(cluster: Cluster, *kinds: Kind) -> list[str]:
    found = [
        body["metadata"]["name"]
        for kind in kinds or (DEPLOYMENTS, SERVICES, PODS)
        for body in (await cluster.client.list_all(Selection(kind, NAMESPACE, labels="app"))).items
    ]
    return sorted(found)


async def line(run: Run, text: str) -> str:
    return await asyncio.to_thread(run.wait_line, text)


async def test_everything_is_made_and_deleted(
    kube: ApiServer, default: Cluster, ids: tuple[str, str], tmp_path: Path
) -> None:
    one, two = ids
    file = write(tmp_path, one, two, appPort="8000", createService="true", logLevel="debug")
    await default.configuration(NAMESPACE, "appconfig", {})
    async with pods_of_runs(default.client):
        async with running(kube, file) as run:
            await line(run, UP)
            assert await names(default) == sorted([*ids] * 3)
            for app_id in ids:
                folder = tmp_path / app_id / ".dapr" / "deploy"
                for kind, name in ((DEPLOYMENTS, "deployment"), (SERVICES, "service")):
                    written = yaml.safe_load((folder / f"{name}.yaml").read_text())
                    made = await default.client.get(kind, app_id, NAMESPACE)
                    assert_contains(made, written)
                    annotations = written["spec"].get("template", {}).get("metadata", {})
                    assert annotations.get("annotations", {}).get("dapr.io/config") == (
                        "appconfig" if kind is DEPLOYMENTS else None
                    )
                logs = sorted(path.name for path in (tmp_path / app_id / ".dapr/logs").iterdir())
                assert [name.rpartition("_")[0] for name in logs] == [
                    f"{app_id}_app",
                    f"{app_id}_daprd",
                ]
            run.signal(signal.SIGINT)
            assert await asyncio.to_thread(run.wait_exit) == 0
        assert run.stdout_lines[-1] == "✅  Everything is deleted"
        assert await names(default) == []
    await default.client.delete(CONFIGURATIONS, "appconfig", NAMESPACE)


def assert_contains(made: Any, written: Any) -> None:
    """What was made has everything that was written, and what the server adds."""
    if isinstance(written, dict):
        for key, value in written.items():
            assert_contains(made[key], value)
    elif isinstance(written, list):
        for one, other in zip(made, written, strict=True):
            assert_contains(one, other)
    else:
        assert made == written


async def test_stop_from_another_process_ends_the_run(
    kube: ApiServer, dapr: Any, default: Cluster, ids: tuple[str, str], tmp_path: Path
) -> None:
    file = write(tmp_path, *ids)
    async with pods_of_runs(default.client):
        async with running(kube, file) as run:
            await line(run, UP)
            assert await dapr.out("stop", "-k", "-f", str(tmp_path)) == (
                f"✅  apps stopped successfully: {', '.join(ids)}\n"
            )
            assert await names(default) == []
            assert await asyncio.to_thread(run.wait_exit) == 0
        assert "Nothing of this run is left in the cluster: it ends" in run.log
        assert f"⚠  The Deployment {ids[0]} was deleted in the cluster" in run.lines
    done = await dapr("stop", "-k", "-f", str(file))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        f"❌  failed to stop the apps of {file}: none of them is running in the cluster\n"
    )


async def test_one_that_is_deleted_is_reported_and_the_others_go_on(
    kube: ApiServer, default: Cluster, ids: tuple[str, str], tmp_path: Path
) -> None:
    async with pods_of_runs(default.client), running(kube, write(tmp_path, *ids)) as run:
        await line(run, UP)
        await default.client.delete(DEPLOYMENTS, ids[0], NAMESPACE)
        await line(run, f"⚠  The Deployment {ids[0]} was deleted in the cluster")
        assert await names(default, DEPLOYMENTS) == [ids[1]]


@pytest.mark.parametrize("kind", [DEPLOYMENTS, SERVICES])
async def test_what_a_run_did_not_make_stays(
    kind: Kind, kube: ApiServer, dapr: Any, default: Cluster, ids: tuple[str, str], tmp_path: Path
) -> None:
    file = write(tmp_path, *ids, appPort="8000", createService="true")
    stranger = await foreign(default, kind, ids[1])
    async with running(kube, file, exit_code=1) as run:
        assert await asyncio.to_thread(run.wait_exit) == 1
    word = "Deployment" if kind is DEPLOYMENTS else "Service"
    assert run.stderr_lines[0] == (
        f"❌  there is a {word} {ids[1]} in namespace default that 'dapr run -k' did not make: it "
        "is left as it is, and nothing is started"
    )
    done = await dapr("stop", "-k", "-f", str(file))
    if kind is DEPLOYMENTS:
        assert f"failed to stop app id {ids[1]}: its Deployment in namespace default was not " in (
            done.stderr
        )
    left = await default.client.get(kind, ids[1], NAMESPACE)
    assert left["metadata"]["uid"] == stranger["metadata"]["uid"]
    assert await names(default, DEPLOYMENTS, SERVICES) == [ids[1]]


async def foreign(cluster: Cluster, kind: Kind, name: str) -> KubeObject:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "x"}]}}
    template["spec"]["containers"][0]["image"] = "x"
    spec = {"selector": {"matchLabels": labels}, "template": template}
    if kind is SERVICES:
        spec = {"selector": labels, "ports": [{"port": 80}]}
    body = {"metadata": {"name": name, "labels": labels}, "spec": spec}
    return await cluster.client.create(kind, body, NAMESPACE)


async def test_what_a_killed_run_left_is_taken_over(
    kube: ApiServer, default: Cluster, ids: tuple[str, str], tmp_path: Path
) -> None:
    first = write(tmp_path, *ids, appPort="8000", createService="true", env={"OLD": "1"})
    async with pods_of_runs(default.client):
        async with running(kube, first, exit_code=-signal.SIGKILL) as run:
            await line(run, UP)
            run.signal(signal.SIGKILL)
            await asyncio.to_thread(run.wait_exit)
        assert await names(default) == sorted([*ids] * 3)
        async with running(kube, write(tmp_path, *ids)) as run:
            await line(run, f"⚠  Taking over the Service {ids[0]}, which another 'dapr run -k' ")
            await line(run, UP)
            made = await default.client.get(DEPLOYMENTS, ids[0], NAMESPACE)
            (container,) = made["spec"]["template"]["spec"]["containers"]
            assert container["env"] == [{"name": "APP_ID", "value": ids[0]}]
            assert await names(default, SERVICES) == []
            assert not (tmp_path / ids[0] / ".dapr/deploy/service.yaml").exists()
        assert await names(default) == []


async def test_a_run_that_was_taken_over_deletes_nothing_of_the_other(
    kube: ApiServer, default: Cluster, ids: tuple[str, str], tmp_path: Path
) -> None:
    file = write(tmp_path, ids[0])
    async with pods_of_runs(default.client):
        async with running(kube, file) as first:
            await line(first, UP)
            async with running(kube, file) as second:
                await line(second, UP)
                assert await asyncio.to_thread(first.wait_exit) == 0
                assert await names(default) == [ids[0]] * 2
        assert await names(default) == []


async def test_one_that_does_not_get_ready_takes_all_with_it(
    kube: ApiServer,
    default: Cluster,
    ids: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = write(tmp_path, *ids)
    async with (
        pods_of_runs(default.client, {ids[1]: WAITING}),
        UserClient(kubeconfig_login(kube.admin)) as client,
    ):
        with pytest.raises(CliError) as raised:
            await run_on_cluster(client, read(str(file)).apps, Console(), ready_seconds=6.0)
        assert raised.value.message == (
            f"not ready after 6 s:\n{ids[1]}: ErrImagePull: no such image"
        )
        assert await names(default) == []
    out = capsys.readouterr().out
    assert f"⌛  {ids[1]}: ErrImagePull: no such image\n" in out
    assert f"✅  {ids[0]} is ready\n" in out
    assert UP not in out


async def test_a_pod_that_was_not_injected(
    kube: ApiServer, default: Cluster, ids: tuple[str, str], tmp_path: Path
) -> None:
    apps = read(str(write(tmp_path, ids[0]))).apps
    async with (
        pods_of_runs(default.client, injected=False),
        UserClient(kubeconfig_login(kube.admin)) as client,
    ):
        with pytest.raises(CliError, match="has no sidecar: the injector was not called"):
            await run_on_cluster(client, apps, Console(), ready_seconds=6.0)
    assert await names(default) == []


async def test_what_the_cluster_refuses_takes_all_with_it(
    kube: ApiServer, default: Cluster, ids: tuple[str, str], tmp_path: Path
) -> None:
    file = write(tmp_path, ids[0], f"Not_{ids[1]}")
    async with running(kube, file, exit_code=1) as run:
        assert await asyncio.to_thread(run.wait_exit) == 1
    assert await names(default) == []
    assert f'"Not_{ids[1]}" is invalid: [metadata.name: Invalid value' in run.log


async def test_ctrl_c_while_it_starts(
    kube: ApiServer, default: Cluster, ids: tuple[str, str], tmp_path: Path
) -> None:
    async with pods_of_runs(default.client, {ids[1]: WAITING}):
        async with running(kube, write(tmp_path, *ids)) as run:
            await line(run, f"⌛  {ids[1]}: ErrImagePull")
            run.signal(signal.SIGINT)
            assert await asyncio.to_thread(run.wait_exit) == 0
        assert await names(default) == []


async def test_one_that_is_deleted_before_it_is_ready(
    kube: ApiServer, default: Cluster, ids: tuple[str, str], tmp_path: Path
) -> None:
    async with pods_of_runs(default.client, {ids[1]: WAITING}):
        async with running(kube, write(tmp_path, *ids), exit_code=1) as run:
            await line(run, f"⌛  {ids[1]}: ErrImagePull")
            await default.client.delete(DEPLOYMENTS, ids[1], NAMESPACE)
            assert await asyncio.to_thread(run.wait_exit) == 1
        assert (
            run.stderr_lines[-1] == f"❌  the Deployment {ids[1]} was deleted before it was ready"
        )
        assert await names(default) == []


async def test_a_cluster_that_does_not_answer_any_more(
    kube: ApiServer, default: Cluster, ids: tuple[str, str], tmp_path: Path
) -> None:
    async with running(kube, write(tmp_path, ids[0]), exit_code=1) as run:
        async with pods_of_runs(default.client):
            await line(run, UP)
        kube.process.signal(signal.SIGSTOP)
        try:
            run.signal(signal.SIGINT)
            await line(run, "Deleting the apps from the cluster; another signal does not wait")
            run.signal(signal.SIGINT)
            assert await asyncio.to_thread(run.wait_exit) == 1
        finally:
            kube.process.signal(signal.SIGCONT)
    assert "❌  Not everything could be deleted: the cluster does not answer" in run.lines
    assert "'dapr stop -k -f FILE' deletes what is left." in run.stderr_lines[-1]
    assert await names(default, DEPLOYMENTS) == [ids[0]]


async def test_a_second_signal_does_not_wait_for_the_pods(
    kube: ApiServer, default: Cluster, ids: tuple[str, str], tmp_path: Path
) -> None:
    async with running(kube, write(tmp_path, ids[0])) as run:
        async with pods_of_runs(default.client):
            await line(run, UP)
        run.signal(signal.SIGINT)  # and now nobody ends the pod
        await line(run, "Deleting the apps from the cluster; another signal does not wait")
        while await names(default, DEPLOYMENTS):
            await asyncio.sleep(0.05)
        run.signal(signal.SIGINT)
        assert await asyncio.to_thread(run.wait_exit, 30) == 0
    assert await names(default) == [ids[0]]


async def test_a_restart_is_reported_once(
    kube: ApiServer, default: Cluster, ids: tuple[str, str], tmp_path: Path
) -> None:
    text = f"❌  The app {ids[0]} ended with exit code 4 (Error) and was started again"
    ended = {"terminated": {"exitCode": 4, "reason": "Error"}}
    async with pods_of_runs(default.client):
        async with running(kube, write(tmp_path, *ids)) as run:
            await line(run, UP)
            await status(default.client, ids[0], ready=False, restartCount=1, lastState=ended)
            await line(run, text)
            await status(default.client, ids[0], restartCount=1, lastState=ended)
            await default.client.delete(PODS, ids[1], NAMESPACE)
            await line(run, f"⚠  The pod {ids[1]} of {ids[1]} is gone, another one takes its place")
        assert run.lines.count(text) == 1


async def test_what_is_wrong_with_the_file_is_said_before_anything_is_made(
    kube: ApiServer, dapr: Any, default: Cluster, tmp_path: Path
) -> None:
    file = write(tmp_path, "a", "b", metricsPort="3", profilePort="4", command=["x"])
    text = file.read_text()
    file.write_text(text.replace("  containerImage: x\n", "", 1))
    done = await dapr("run", "-k", "-f", str(file), "--app-port", "3", "--sentry-address", "x")
    assert done.returncode == 1
    assert done.stderr.splitlines()[:2] == [
        "⚠  Ignored with --run-file: --app-port, --sentry-address",
        f"❌  {file}, line 2: app a: 'containerImage' is required with -k",
    ]
    file.write_text(text)
    env = {**os.environ, "KUBECONFIG": str(tmp_path / "none")}
    done = await dapr("run", "-k", "-f", str(file), KUBECONFIG=env["KUBECONFIG"])
    assert done.stderr.splitlines()[0] == "⚠  Without effect in a cluster: profilePort (a, b)"
    assert "there is no kubeconfig" in done.stderr
    assert await names(default) == []
