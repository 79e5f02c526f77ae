"""Bring images into a cluster: the local node, or kind's."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Collection

from cluster.addresses import PAUSE_IMAGE
from cluster.kind import NAME
from cluster.machine import ClusterError, inside
from cluster.programs import path
from tools.images import LAYOUT, engine
from tools.oci import Layout

_SECONDS = 300


def load_into_node(names: Collection[str]) -> None:
    """Into the local cluster's containerd; only what it lacks travels."""
    ctr = inside("ctr", "-n", "k8s.io")
    held = set(_output([*ctr, "content", "ls", "-q"]).split())
    layout = Layout(LAYOUT)
    _check(layout, names)
    with subprocess.Popen(
        [*ctr, "images", "import", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            layout.write_archive(child.stdin, names, without=held)
        _, said = child.communicate(timeout=_SECONDS)
    if child.returncode:
        raise ClusterError(f"the images were not taken: {said.decode()}")


def load_pause() -> None:
    """The image of every pod's first process: our own program and nothing else."""
    layout = Layout(LAYOUT)
    layer = layout.add_layer([(path("pause").resolve(), "pause")])
    layout.save(PAUSE_IMAGE, [layer], {"Entrypoint": ["/pause"], "User": "65535:65535"})
    load_into_node([PAUSE_IMAGE])


def load_into_kind(names: Collection[str]) -> None:
    """By kind itself, from the engine that built them or as an archive."""
    if engine():
        command = ["kind", "load", "docker-image", "--name", NAME, *names]
        subprocess.run(command, check=True, timeout=_SECONDS)
        return
    layout = Layout(LAYOUT)
    _check(layout, names)
    with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        layout.write_archive(archive, names)
        archive.flush()
        command = ["kind", "load", "image-archive", "--name", NAME, archive.name]
        subprocess.run(command, check=True, timeout=_SECONDS)


def _check(layout: Layout, names: Collection[str]) -> None:
    if missing := sorted(set(names) - set(layout.names())):
        raise ClusterError(f"not built: {', '.join(missing)}: `make images`")


def _output(command: list[str]) -> str:
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=_SECONDS
    ).stdout
