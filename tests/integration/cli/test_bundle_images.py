"""Images of a bundle where there is no network: into a registry next door, into a node."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.bundles import Layout, bundle, layout
from harness.cli import Dapr
from harness.image_registry import ImageRegistry, registry_program
from harness.no_network import words_beside, words_without_network
from harness.programs import Program, console_script

_NO_ROUTE = """
import socket
try:
    socket.create_connection(("192.0.2.1", 80), 5)
except OSError as error:
    print(error.strerror)
"""


@pytest.fixture
def images(tmp_path: Path) -> Layout:
    return layout(tmp_path / "layout", "bundled.test/dapr")


@pytest.fixture
def folder(tmp_path: Path, images: Layout) -> Path:
    return bundle(tmp_path / "bundle", images.folder)


class Containerd(Program):
    """A node's containerd with a store of its own, in a namespace without any network."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "containerd.sock"
        config = folder / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{self.socket}"\n'
        )
        words = words_without_network("--mount")
        command = [*words, "containerd", "--config", str(config)]
        super().__init__(command, name="containerd", exit_code=None)

    def is_ready(self) -> bool:
        return self.socket.exists()

    def images(self) -> dict[str, str]:
        """What the kubelet would see: names and digests."""
        place = ("ctr", "--address", str(self.socket), "--namespace", "k8s.io")
        done = subprocess.run(
            [*place, "images", "ls"], capture_output=True, text=True, timeout=30, check=True
        )
        rows = [line.split() for line in done.stdout.splitlines()[1:]]
        return {row[0]: row[2] for row in rows}


@pytest.fixture
def containerd() -> Iterator[Containerd]:
    if not shutil.which("containerd") or not shutil.which("ctr"):
        pytest.skip("not here: containerd (`make cluster-tools` installs it)")
    # Not below tmp_path: the name of a socket may have some hundred characters.
    with (
        tempfile.TemporaryDirectory(prefix="containerd-") as folder,
        Containerd(Path(folder)) as found,
    ):
        yield found


def test_a_registry_next_door(folder: Path, images: Layout, tmp_path: Path) -> None:
    """Both have the loopback and nothing else; what the machine has is not reached."""
    if not registry_program():
        pytest.skip("not here: registry (tools/programs.py builds it)")
    place = tmp_path / "registry"
    place.mkdir()
    with ImageRegistry(place, before=words_without_network()) as registry:
        beside = words_beside(registry.process.pid)

        def run(*words: str) -> str:
            done = subprocess.run(
                [*beside, *words],
                env={**os.environ, **Dapr(tmp_path).env()},
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, done
            return done.stdout

        assert run(console_script("python"), "-c", _NO_ROUTE).strip() == "Network is unreachable"
        target = f"{registry.place}/dapr"
        said = run(console_script("dapr"), "bundle", "push", str(folder), "--registry", target)
        assert said.count("is pushed") == len(images.digests)
    with ImageRegistry(place) as registry:  # what it has kept
        for name, digest in images.digests.items():
            program = name.rpartition("/")[2].partition(":")[0]
            assert registry.pull(f"dapr/{program}", "1.2.3")[0] == digest


def test_a_node(folder: Path, images: Layout, containerd: Containerd, tmp_path: Path) -> None:
    """Every image has the name and the digest that it has in the bundle, and can be unpacked."""
    words = ["bundle", "load", str(folder), "--address", str(containerd.socket)]
    done = subprocess.run(
        [*words_without_network(), console_script("dapr"), *words],
        env={**os.environ, **Dapr(tmp_path).env()},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "bundled.test/dapr/daprd:1.2.3 is loaded" in done.stdout
    assert containerd.images() == images.digests


def test_a_node_that_does_not_take_them(folder: Path, tmp_path: Path) -> None:
    if not shutil.which("ctr"):
        pytest.skip("not here: ctr (`make cluster-tools` installs it)")
    nowhere = tmp_path / "none.sock"
    done = Dapr(tmp_path)("bundle", "load", str(folder), "--address", str(nowhere))
    assert done.returncode == 1
    assert f"--address {nowhere} --namespace k8s.io images import" in done.stderr
    assert "ended with exit code 1" in done.stderr
    assert "containerd belongs to root" in done.stderr


def test_programs_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    for words, program in (((), "ctr"), (("--kind", "dapr"), "kind")):
        done = Dapr(tmp_path)("bundle", "load", str(folder), *words, env={"PATH": str(tmp_path)})
        assert done.returncode == 1
        assert f"the program {program} is not on PATH" in done.stderr


def test_a_cluster_of_kind(folder: Path, tmp_path: Path) -> None:
    """What kind is asked to do; a stand-in writes it down."""
    kind = tmp_path / "kind"
    kind.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    kind.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = Dapr(tmp_path)("bundle", "load", str(folder), "--kind", "dapr", env={"PATH": path})
    assert done.returncode == 0, done
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [f"load image-archive {folder / 'images' / 'images.tar'} --name dapr"]
    assert done.stdout.count("is loaded") == 5
