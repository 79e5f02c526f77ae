"""A cluster from a bundle alone: no image comes from anywhere else, and nothing is fetched.

The images have names that only the bundle knows. Every command runs in the node's own network,
where there is the node and nothing of the world.
"""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import kind, machine
from cluster.dapr import run
from cluster.kubectl import get, given
from cluster.machine import inside
from cluster.release import DEPLOYMENTS, NAMESPACE, Release, only_pod, values
from cluster.waiting import Until
from harness.bundles import PROGRAMS, bundle
from harness.image_registry import ImageRegistry, registry_program
from harness.no_network import words_beside
from tools.images import LAYOUT, version
from tools.oci import Layout

_SECONDS = 400
_HOST = "bundle.test/dapr"


@pytest.fixture
def tags() -> Iterator[list[str]]:
    """Of the images of two bundles; on the node nothing is left of them."""
    if given() or kind.is_usable() or not machine.is_up():
        pytest.skip("needs the local cluster: `make cluster`")
    found = [secrets.token_hex(4) for _ in range(2)]
    yield found
    if ours := [name for name in on_node() if name.endswith(tuple(found))]:
        subprocess.run(_ctr("images", "rm", *ours), check=True, capture_output=True, timeout=60)


@pytest.fixture
def none(shared_release: Release, tags: list[str]) -> Iterator[None]:
    """No control plane is installed, before and after; what removes it needs the images."""
    if shared_release.is_installed():
        shared_release.uninstall()
    yield
    if shared_release.is_installed():
        shared_release.uninstall()


def test_loaded_into_the_node_then_from_a_registry_beside_it(
    none: None, tags: list[str], until: Until, tmp_path: Path
) -> None:
    if not registry_program():
        pytest.skip("not here: registry (tools/programs.py builds it)")
    first, second = [made(tmp_path / tag, tag) for tag in tags]
    said = dapr("bundle", "load", str(first))
    for program in PROGRAMS:
        assert f"{_HOST}/{program}:{tags[0]} is loaded" in said
    until(lambda: names(tags[0]) <= reported(), 120, "the node says which images it has")

    said = dapr("init", "-k", "--wait", "--from-dir", str(first), *values())
    assert "✅  The nodes have the images of the bundle" in said
    for name in DEPLOYMENTS:
        assert ready_image(name).startswith(f"{_HOST}/")
        assert ready_image(name).endswith(f":{tags[0]}")
    authority = get("secret", "dapr-trust-bundle", "-n", NAMESPACE)["data"]

    place = tmp_path / "registry"
    place.mkdir()
    digests = Layout(LAYOUT).names()
    with ImageRegistry(place, before=words_beside(machine.node_pid())) as registry:
        target = f"{registry.place}/dapr"
        said = dapr("upgrade", "-k", "--from-dir", str(second), "--image-registry", target)
        assert said.count("is pushed") == len(PROGRAMS)
        for name, program in (("dapr-sentry", "sentry"), ("dapr-operator", "operator")):
            image = f"{target}/{program}:{tags[1]}"
            assert ready_image(name) == image
            # The node has pulled what was built.
            assert on_node()[image] == digests[f"localhost/dapr/{program}:{version()}"]
    assert get("secret", "dapr-trust-bundle", "-n", NAMESPACE)["data"] == authority


def made(folder: Path, tag: str) -> Path:
    """A bundle whose images are those that were built, by other names."""
    layout = folder.with_name(f"{folder.name}-layout")
    layout.mkdir()
    (layout / "blobs").symlink_to(LAYOUT / "blobs")
    entries = []
    for entry in json.loads((LAYOUT / "index.json").read_text())["manifests"]:
        name = entry["annotations"]["org.opencontainers.image.ref.name"]
        for program in PROGRAMS:
            if name == f"localhost/dapr/{program}:{version()}":
                named = {"org.opencontainers.image.ref.name": f"{_HOST}/{program}:{tag}"}
                entries.append({**entry, "annotations": named})
    assert len(entries) == len(PROGRAMS), "not built: `make images`"
    (layout / "index.json").write_text(json.dumps({"manifests": entries}))
    return bundle(folder, layout)


def names(tag: str) -> set[str]:
    return {f"{_HOST}/{program}:{tag}" for program in PROGRAMS}


def reported() -> set[str]:
    """The images that nodes say they have."""
    images = [image for node in get("nodes")["items"] for image in node["status"]["images"]]
    return {name for image in images for name in image.get("names") or ()}


def on_node() -> dict[str, str]:
    """The images that the node has, with their digests."""
    done = subprocess.run(
        _ctr("images", "ls"), check=True, capture_output=True, text=True, timeout=60
    )
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    return {row[0]: row[2] for row in rows}


def ready_image(app: str) -> str:
    """What the only pod of a workload, which is ready, was made of."""
    pod = only_pod(app)
    assert [one["ready"] for one in pod["status"]["containerStatuses"]] == [True], pod
    return str(pod["spec"]["containers"][0]["image"])


def dapr(*words: str) -> str:
    """On the node."""
    return run(*words, beside=inside(), seconds=_SECONDS)


def _ctr(*words: str) -> list[str]:
    return inside("ctr", "--namespace", "k8s.io", *words)
