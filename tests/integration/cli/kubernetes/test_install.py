"""``dapr init -k``, ``upgrade -k`` and ``uninstall -k`` with the real Helm and the real chart.

They have an API server for themselves: the names of Dapr's objects are fixed. Without controllers
pods never come; with them they are made, and a stand-in for the nodes says that they are ready.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from harness.apiserver import ApiServer
from harness.authorities import brought, now
from harness.helm_release import DEPLOYMENTS, SYSTEM, helm_says, image
from harness.kube_cluster import CRDS, NAMESPACES, Cluster
from harness.kube_controllers import ControllerManager, stand_in_nodes

from dapr_common.kube.api_errors import NotFoundError
from dapr_common.kube.kinds import CONFIG_MAPS, CONFIGURATIONS, PODS, SECRETS, Selection
from dapr_common.security.authority import CaBundle, Life, new_bundle

NAME = "dapr-trust-bundle"
Helm = Callable[..., Any]


@pytest.fixture(scope="module")
def kube(own_kube: ApiServer) -> ApiServer:
    return own_kube


@pytest.fixture
async def cluster(kube: ApiServer, helm: str) -> AsyncIterator[Cluster]:
    """Empty again after each test, whatever became of it."""
    found = Cluster(kube)
    async with found.client:
        yield found
        helm_says(helm, kube, "uninstall", "dapr", "-n", SYSTEM, "--no-hooks", "--ignore-not-found")
        for definition in (await found.client.list_all(Selection(CRDS))).items:
            await found.client.delete(CRDS, definition["metadata"]["name"])
        async with asyncio.timeout(40):  # their objects go first
            while (await found.client.list_all(Selection(CRDS))).items:
                await asyncio.sleep(0.05)


@pytest.fixture
def release(kube: ApiServer, helm: str) -> Callable[[], Any]:
    """What Helm says of the release."""

    def ask() -> Any:
        (found,) = json.loads(helm_says(helm, kube, "list", "-n", SYSTEM, "-a", "-o", "json"))
        values = helm_says(helm, kube, "get", "values", "dapr", "-n", SYSTEM, "-o", "json")
        return {**found, "values": json.loads(values)}

    return ask


async def store(cluster: Cluster, bundle: CaBundle) -> None:
    """As sentry fills what the chart has made."""
    files = {"ca.crt": bundle.anchors_pem, "issuer.crt": bundle.chain_pem}
    files["issuer.key"] = bundle.key_pem
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    await cluster.client.patch(SECRETS, NAME, {"data": data}, SYSTEM)
    anchors = {"ca.crt": bundle.anchors_pem.decode()}
    await cluster.client.patch(CONFIG_MAPS, NAME, {"data": anchors}, SYSTEM)


@pytest.mark.slow
async def test_from_nothing_and_back(dapr, cluster: Cluster, release) -> None:
    given = ["--enable-mtls=false", "--enable-ha", "--image-registry", "registry.example/dapr"]
    given += ["--runtime-version", "7.7.7", "--set", "dapr_operator.cleanup.enabled=false"]
    done = await dapr("init", "-k", *given, "--set", "global.logAsJson=true")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "⌛  Installing Dapr into namespace dapr-system",
        "✅  Dapr's 7 kinds are known to the cluster",
        "✅  Dapr is installed in namespace dapr-system",
        "ℹ️  Its pods are starting: 'dapr status -k' shows how far they are",  # noqa: RUF001
    ]
    assert await image(cluster, "dapr-sentry") == "registry.example/dapr/sentry:7.7.7"
    assert (await cluster.client.get(DEPLOYMENTS, "dapr-operator", SYSTEM))["spec"]["replicas"] == 3
    system = await cluster.client.get(CONFIGURATIONS, "daprsystem", SYSTEM)
    assert system["spec"]["mtls"]["enabled"] is False
    subscriptions = await cluster.client.get(CRDS, "subscriptions.dapr.io")
    service = subscriptions["spec"]["conversion"]["webhook"]["clientConfig"]["service"]
    assert service["namespace"] == SYSTEM
    assert release()["values"]["global"]["logAsJson"] is True

    again = await dapr("init", "-k")
    assert again.returncode == 1
    assert "Dapr is installed already, in namespace dapr-system" in again.stderr
    assert "'dapr upgrade -k' brings it to this version." in again.stderr

    gone = await dapr("uninstall", "-k")
    assert gone.returncode == 0
    assert gone.stderr == ""
    assert "dapr is removed from namespace dapr-system" in gone.stdout
    with pytest.raises(NotFoundError):
        await cluster.client.get(DEPLOYMENTS, "dapr-sentry", SYSTEM)
    await cluster.client.get(CRDS, "components.dapr.io")
    await cluster.client.get(NAMESPACES, SYSTEM)

    all_gone = await dapr("uninstall", "-k", "--all")
    assert all_gone.returncode == 0
    assert "There is no Helm release dapr in namespace dapr-system" in all_gone.stderr
    assert "components.dapr.io is removed with all its objects" in all_gone.stdout
    with pytest.raises(NotFoundError):
        await cluster.client.get(CRDS, "components.dapr.io")


@pytest.mark.slow
async def test_a_wait_that_ends_says_what_is_missing(dapr, cluster: Cluster, release) -> None:
    done = await dapr("init", "-k", "--wait", "--timeout", "3")
    assert done.returncode == 1
    assert "⌛  dapr-sentry: 0 of 1 ready" in done.stdout
    assert "❌  helm install: " in done.stderr
    assert "dapr-operator: 0 of 1 ready: it has no pods yet" in done.stderr
    assert "'dapr status -k' shows whether it gets ready after all" in done.stderr
    assert release()["status"] == "failed"
    # That is no dead end.
    done = await dapr("upgrade", "-k", "--timeout", "3", "--set", "global.tag=8.8.8")
    assert "⌛  Upgrading Dapr in namespace dapr-system" in done.stdout
    assert await image(cluster, "dapr-sentry") == "localhost/dapr/sentry:8.8.8"
    # The next one goes to the chart's version again.
    await dapr("upgrade", "-k", "--timeout", "1")
    assert "8.8.8" not in await image(cluster, "dapr-sentry")


@pytest.mark.slow
async def test_with_controllers_everything_gets_ready(
    dapr, cluster: Cluster, kube: ApiServer, release
) -> None:
    async with ControllerManager(kube), stand_in_nodes(cluster.client):
        wanted = "dapr_sentry.logLevel=debug,dapr_placement.scaleZero=false"
        done = await dapr("init", "-k", "--wait", "--set", wanted)
        assert done.returncode == 0, done.stderr
        for name in ("dapr-operator", "dapr-sentry", "dapr-sidecar-injector"):
            assert f"✅  {name}: 1 of 1 ready" in done.stdout
        assert done.stdout.endswith("✅  Dapr is installed in namespace dapr-system\n")
        lines = (await dapr.out("status", "-k")).splitlines()
        assert [line.split()[1:5] for line in lines[1:]] == [[SYSTEM, "True", "Running", "1"]] * 4

        bundle = new_bundle("cluster.local", SYSTEM, Life.of(now()))
        await store(cluster, bundle)
        await cluster.client.delete(CRDS, "resiliencies.dapr.io")
        done = await dapr("upgrade", "-k", "--runtime-version", "v9.9.9")
        assert (done.returncode, done.stderr) == (0, "")
        assert "✅  Dapr in namespace dapr-system is upgraded" in done.stdout
        await cluster.client.get(CRDS, "resiliencies.dapr.io")
        assert await image(cluster, "dapr-sentry") == "localhost/dapr/sentry:9.9.9"
        secret, config_map = await cluster.bundle(SYSTEM)
        assert secret["issuer.key"] == bundle.key_pem.decode()
        assert config_map["ca.crt"] == bundle.anchors_pem.decode()
        values = release()["values"]
        assert values["dapr_sentry"] == {"logLevel": "debug"}, "no key has got into the release"

        done = await dapr("mtls", "renew-certificate", "-k", "--restart")
        assert (done.returncode, done.stderr) == (0, "")
        assert "⌛  Restarting dapr-sentry\n" in done.stdout
        assert "✅  The control plane has restarted" in done.stdout

        done = await dapr("uninstall", "-k", "--all")
        assert (done.returncode, done.stderr) == (0, "")
        left = await cluster.client.list_all(Selection(DEPLOYMENTS, SYSTEM))
        assert left.items == ()


@pytest.mark.slow
async def test_pods_that_cannot_start_are_named(dapr, cluster: Cluster, kube: ApiServer) -> None:
    async with ControllerManager(kube), stand_in_nodes(cluster.client, without="/sentry:"):
        done = await dapr("init", "-k")
        assert done.returncode == 0, done.stderr
        await until_ready(cluster, "dapr-operator", "dapr-sidecar-injector")
        await until_pods_say(cluster, "app=dapr-sentry", "ImagePullBackOff")
        done = await dapr("upgrade", "-k", "--timeout", "2")
        assert done.returncode == 1
        assert (
            "dapr-sentry: 0 of 1 ready: ImagePullBackOff: no localhost/dapr/sentry:" in done.stderr
        )
        assert "dapr-operator" not in done.stderr
    for pod in (await cluster.client.list_all(Selection(PODS, SYSTEM))).items:
        await cluster.delete_pod(SYSTEM, pod["metadata"]["name"])


async def until_ready(cluster: Cluster, *deployments: str) -> None:
    for name in deployments:
        while True:
            body = await cluster.client.get(DEPLOYMENTS, name, SYSTEM)
            if body["status"].get("readyReplicas") == body["spec"]["replicas"]:
                break
            await asyncio.sleep(0.1)


async def until_pods_say(cluster: Cluster, labels: str, word: str) -> None:
    wanted = Selection(PODS, SYSTEM, labels=labels)
    while word not in str((await cluster.client.list_all(wanted)).items):
        await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_certificates_of_ones_own_stay_the_ones_in_use(
    dapr, cluster: Cluster, tmp_path: Path
) -> None:
    own = brought("ecdsa")
    arguments = []
    for flag, content in (
        ("--ca-root-certificate", own.anchors_pem),
        ("--issuer-public-certificate", own.chain_pem),
        ("--issuer-private-key", own.key_pem),
    ):
        (tmp_path / flag[2:]).write_bytes(content)
        arguments += [flag, str(tmp_path / flag[2:])]
    done = await dapr("init", "-k", *arguments)
    assert done.returncode == 0, done.stderr
    secret, config_map = await cluster.bundle(SYSTEM)
    assert secret["issuer.key"].strip() == own.key_pem.decode().strip()
    assert config_map["ca.crt"] == secret["ca.crt"]

    done = await dapr("mtls", "renew-certificate", "-k")
    assert done.returncode == 0
    assert "The Helm release has the old certificates among its values" in done.stderr
    renewed = await cluster.bundle(SYSTEM)
    assert renewed[0]["issuer.key"] != secret["issuer.key"]
    # Its pods never get ready here; what counts is what the upgrade has written.
    await dapr("upgrade", "-k", "--timeout", "2")
    after = await cluster.bundle(SYSTEM)
    assert after[0].keys() == renewed[0].keys()
    assert [text.strip() for text in after[0].values()] == [
        text.strip() for text in renewed[0].values()
    ]
    assert after[1]["ca.crt"] == after[0]["ca.crt"]


async def test_what_is_refused(dapr, cluster: Cluster, tmp_path: Path) -> None:
    done = await dapr("init", "-k", "--dev")
    assert done.returncode == 1
    assert "charts and images of others, which this CLI does not install" in done.stderr
    done = await dapr("init", "-k", PATH=str(tmp_path))
    assert done.returncode == 1
    assert "the program helm is not on PATH" in done.stderr
    assert "Install Helm 3.8 or newer" in done.stderr
    done = await dapr("upgrade", "-k")
    assert done.returncode == 1
    assert "there is no Helm release dapr in the cluster" in done.stderr
    # None of them has changed anything.
    assert (await cluster.client.list_all(Selection(CRDS))).items == ()


async def test_helms_own_words_are_passed_on(dapr, cluster: Cluster) -> None:
    done = await dapr("init", "-k", "--set", "global.ha.podAntiAffinityPolicy=never", "--enable-ha")
    assert done.returncode == 1
    assert "helm install: " in done.stderr
    assert "podAntiAffinityPolicy" in done.stderr
