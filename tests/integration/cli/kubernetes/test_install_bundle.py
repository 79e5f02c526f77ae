"""``dapr init -k`` and ``dapr upgrade -k`` from a bundle: real API server, Helm and registry."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.apiserver import ApiServer
from harness.bundles import PROGRAMS, bundle, layout, write_manifest
from harness.helm_release import SYSTEM, helm_says, image
from harness.image_registry import ImageRegistry, docker_config, registry_program
from harness.kube_cluster import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CRDS,
    NAMESPACES,
    Cluster,
)
from harness.kube_controllers import ControllerManager, stand_in_nodes

from dapr_common.kube.api_errors import NotFoundError
from dapr_common.kube.kinds import Kind, KubeObject, Selection

NODES = Kind("", "v1", "nodes", namespaced=False)
# Of the core group all that the chart has; of others everything.
_CORE = [
    *("namespaces", "secrets", "configmaps", "services", "serviceaccounts", "pods", "events"),
    "serviceaccounts/token",
]
_GROUPS = (
    *("apps", "batch", "policy", "coordination.k8s.io", "apiextensions.k8s.io", "dapr.io"),
    *("rbac.authorization.k8s.io", "admissionregistration.k8s.io", "authentication.k8s.io"),
)


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
        for kind in (CRDS, NODES):
            for body in (await found.client.list_all(Selection(kind))).items:
                await found.client.delete(kind, body["metadata"]["name"])


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[ImageRegistry]:
    if not registry_program():
        pytest.skip("not here: registry (tools/programs.py builds it)")
    folder = tmp_path / "registry"
    folder.mkdir()
    with ImageRegistry(folder, with_password=True) as found:
        docker_config(tmp_path / "login", found.place)
        yield found


@pytest.fixture
def login(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who is known to the registry."""
    return {"DOCKER_CONFIG": str(tmp_path / "login")}


async def add_node(cluster: Cluster, name: str, architecture: str, *images: str) -> None:
    """A node as its kubelet reports it; nothing runs there."""
    body: KubeObject = {"metadata": {"name": name}}
    await cluster.client.create(NODES, body)
    status: dict[str, Any] = {
        "nodeInfo": {
            "operatingSystem": "linux",
            "architecture": architecture,
            **dict.fromkeys(
                (
                    *("machineID", "systemUUID", "bootID", "kernelVersion", "osImage"),
                    *("containerRuntimeVersion", "kubeletVersion", "kubeProxyVersion"),
                ),
                "",
            ),
        },
        "images": [{"names": [one], "sizeBytes": 1} for one in images],
    }
    path_body = {"status": status}
    await cluster.client.patch(NODES, name, path_body, part="status")


def names(prefix: str, tag: str) -> list[str]:
    return [f"{prefix}/{program}:{tag}" for program in PROGRAMS]


async def nothing_was_touched(cluster: Cluster) -> None:
    assert (await cluster.client.list_all(Selection(CRDS))).items == ()
    with pytest.raises(NotFoundError):
        await cluster.client.get(NAMESPACES, SYSTEM)


async def test_what_stands_in_the_way_is_said_before_anything_is_touched(
    dapr, cluster: Cluster, registry: ImageRegistry, login: dict[str, str], tmp_path: Path
) -> None:
    """A damaged file, images for other nodes, a tag that is not the bundle's, no login."""
    images = layout(tmp_path / "layout", architectures=("arm64",))
    folder = bundle(tmp_path / "bundle", images.folder)
    await add_node(cluster, "a", "amd64")
    words = ("init", "-k", "--from-dir", str(folder), "--image-registry", f"{registry.place}/x")
    done = await dapr(*words, **login)
    assert done.returncode == 1
    assert "daprd:1.2.3 is for linux/arm64, the cluster's nodes are linux/amd64" in done.stderr
    assert "Make the bundle with images for these nodes" in done.stderr

    done = await dapr(*words, "--runtime-version", "4.5.6", **login)
    assert done.returncode == 1
    assert "the images of the bundle have the tag 1.2.3, not 4.5.6" in done.stderr

    file = folder / "chart" / "crds" / "components.yaml"
    text = file.read_text()
    file.write_text(text + "\n")
    done = await dapr(*words, **login)
    assert done.returncode == 1
    assert f"{file} is damaged or was changed" in done.stderr
    file.write_text(text)

    await add_node(cluster, "b", "arm64")
    done = await dapr(*words, DOCKER_CONFIG=str(tmp_path))
    assert done.returncode == 1
    assert "it does not run on a (linux/amd64)" in done.stderr
    assert f"registry {registry.place} wants a login" in done.stderr

    assert registry.tags("x/daprd") == []
    await nothing_was_touched(cluster)


async def test_a_bundle_is_checked_before_the_cluster_is_asked(
    dapr, tmp_path: Path, cluster: Cluster
) -> None:
    folder = bundle(tmp_path / "bundle", layout(tmp_path / "layout").folder)
    write_manifest(folder, {"localhost/dapr/daprd:1": "images/none.tar"})
    for verb in ("init", "upgrade"):
        done = await dapr(verb, "-k", "--from-dir", str(folder), KUBECONFIG=str(tmp_path / "none"))
        assert done.returncode == 1
        assert "there is no SHA-256 of images/none.tar" in done.stderr


@pytest.mark.slow
async def test_from_a_registry_and_on(
    dapr,
    cluster: Cluster,
    kube: ApiServer,
    helm: str,
    registry: ImageRegistry,
    login: dict[str, str],
    tmp_path: Path,
) -> None:
    """init pushes and installs; upgrade brings chart, kinds and images of the next bundle."""
    first = bundle(tmp_path / "first", layout(tmp_path / "one").folder)
    second = bundle(tmp_path / "second", layout(tmp_path / "two", tag="1.3.0").folder)
    mark(second)
    place = f"{registry.place}/x"
    await add_node(cluster, "a", "amd64")
    async with ControllerManager(kube), stand_in_nodes(cluster.client):
        words = ("--image-registry", place)
        done = await dapr("init", "-k", "--wait", "--from-dir", str(first), *words, **login)
        assert (done.returncode, done.stderr) == (0, ""), done
        said = done.stdout
        assert said.index("is whole") < said.index("is pushed") < said.index("Installing Dapr")
        assert await image(cluster, "dapr-sentry") == f"{place}/sentry:1.2.3"
        assert registry.tags("x/daprd") == ["1.2.3"]

        done = await dapr("upgrade", "-k", "--from-dir", str(second), **login)
        assert (done.returncode, done.stderr) == (0, ""), done
        assert f"'dapr bundle push {second} --registry {place}'" in done.stdout
        assert "is pushed" not in done.stdout, "nobody asked for that"
        assert await image(cluster, "dapr-sentry") == f"{place}/sentry:1.3.0"
        found = await cluster.client.get(CRDS, "components.dapr.io")
        assert found["metadata"]["annotations"]["from"] == "bundle"
        (release,) = json.loads(helm_says(helm, kube, "list", "-n", SYSTEM, "-o", "json"))
        assert release["chart"] == "dapr-9.9.9"

        damaged = second / "images" / "images.tar"
        content = damaged.read_bytes()
        damaged.write_bytes(content[:-1] + b"x")
        done = await dapr("upgrade", "-k", "--from-dir", str(second), *words, **login)
        assert (done.returncode, f"{damaged} is damaged" in done.stderr) == (1, True), done
        assert registry.tags("x/daprd") == ["1.2.3"]
        damaged.write_bytes(content)
        done = await dapr("upgrade", "-k", "--from-dir", str(second), *words, **login)
        assert (done.returncode, done.stderr) == (0, ""), done
        assert sorted(registry.tags("x/daprd")) == ["1.2.3", "1.3.0"]


def mark(folder: Path) -> None:
    """Make the chart and the kinds of a bundle known by what is in them."""
    kinds = folder / "chart" / "crds" / "components.yaml"
    text = kinds.read_text()
    kinds.write_text(text.replace("metadata:\n", "metadata:\n  annotations: {from: bundle}\n", 1))
    chart = folder / "chart" / "Chart.yaml"
    chart.write_text(re.sub("(?m)^version: .*$", "version: 9.9.9", chart.read_text()))
    images = json.loads((folder / "bundle.json").read_text())["images"]
    write_manifest(folder, images)


async def test_without_a_registry_the_nodes_need_the_images(
    dapr, cluster: Cluster, tmp_path: Path
) -> None:
    """They are named as they are in the bundle; whether a node has them is said."""
    folder = bundle(tmp_path / "bundle", layout(tmp_path / "l", "bundled.test/d").folder)
    await add_node(cluster, "a", "amd64", *names("bundled.test/d", "1.2.3")[:2])
    words = ("init", "-k", "--from-dir", str(folder))
    done = await dapr(*words)
    assert done.returncode == 0, done
    assert "⚠  The images of the bundle are on no node" in done.stderr
    assert f"On each node: dapr bundle load {folder}\n" in done.stdout
    assert f"With kind: dapr bundle load {folder} --kind NAME" in done.stdout
    assert await image(cluster, "dapr-sentry") == "bundled.test/d/sentry:1.2.3"

    await add_node(cluster, "b", "amd64", *names("bundled.test/d", "1.2.3"))
    done = await dapr("upgrade", "-k", "--from-dir", str(folder), "--timeout", "1")
    assert "The images of the bundle are missing on these nodes: a:" in done.stderr
    await cluster.client.delete(NODES, "a")
    done = await dapr("upgrade", "-k", "--from-dir", str(folder), "--timeout", "1")
    assert "✅  The nodes have the images of the bundle" in done.stdout
    assert "bundle load" not in done.stdout


async def test_an_account_that_may_not_see_nodes(dapr, cluster: Cluster, tmp_path: Path) -> None:
    """It is told what was not looked at; the registry of --set is the one that counts."""
    folder = bundle(tmp_path / "bundle", layout(tmp_path / "layout").folder)
    space = await cluster.namespace("people")
    await cluster.account(space, "installer")
    named = {"metadata": {"name": space}}
    rules = [
        {"apiGroups": [group], "resources": resources, "verbs": ["*"]}
        for group, resources in (("", _CORE), *((group, ["*"]) for group in _GROUPS))
    ]
    await cluster.client.create(CLUSTER_ROLES, {**named, "rules": rules})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": space}
    subjects = [{"kind": "ServiceAccount", "name": "installer", "namespace": space}]
    binding = {**named, "roleRef": role, "subjects": subjects}
    await cluster.client.create(CLUSTER_ROLE_BINDINGS, binding)
    token = await cluster.token(space, "installer", [])
    done = await dapr(
        *("init", "-k", "--from-dir", str(folder), "--set", "global.registry=mirror.test/d"),
        KUBECONFIG=str(cluster.server.kubeconfig("installer", token=token)),
    )
    assert done.returncode == 0, done
    assert "may not list the cluster's nodes" in done.stderr
    assert f"'dapr bundle push {folder} --registry mirror.test/d'" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("init", "--from-dir", ".", "--image-registry", "x.io/y"),
            "nothing comes from a registry",
        ),
        (("init", "-k", "--registry-plain-http"), "they go with --from-dir and --image-registry"),
        (("upgrade", "-k", "--from-dir", ".", "--registry-plain-http"), "they go with --from-dir"),
        (("bundle", "load", ".", "--kind", "a", "--address", "b"), "choose one"),
    ],
)
async def test_flags_that_do_not_go_together(dapr, words: tuple[str, ...], said: str) -> None:
    done = await dapr(*words)
    assert done.returncode != 0
    assert said in " ".join(done.stderr.split())
