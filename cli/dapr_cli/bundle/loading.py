"""Load the images of a bundle into a node: containerd's, or those of a kind cluster."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dapr_cli.bundle.manifest import Manifest, megabytes
from dapr_cli.console import Console
from dapr_cli.errors import CliError

_NAMESPACE = "k8s.io"  # where the kubelet looks
_LAST_LINES = 5


def into_containerd(
    folder: Path, manifest: Manifest, address: str, console: Console, seconds: float
) -> None:
    """Into the containerd of this machine, by ``ctr``. Raises ``CliError``."""
    program = _program("ctr", "It comes with containerd; do this on a node of the cluster.")
    place = ["--address", address] if address else []
    command = [program, *place, "--namespace", _NAMESPACE, "images", "import"]
    for file, names in _files(manifest).items():
        _load(names, [*command, str(folder / file)], folder / file, console, seconds)


def into_kind(
    folder: Path, manifest: Manifest, cluster: str, console: Console, seconds: float
) -> None:
    """Into every node of a kind cluster. Raises ``CliError``."""
    program = _program("kind", "Do this where 'kind get clusters' shows the cluster.")
    for file, names in _files(manifest).items():
        command = [program, "load", "image-archive", str(folder / file), "--name", cluster]
        _load(names, command, folder / file, console, seconds)


def _files(manifest: Manifest) -> dict[str, list[str]]:
    """Each file and the images in it."""
    found: dict[str, list[str]] = {}
    for name, file in manifest.images.items():
        found.setdefault(file, []).append(name)
    return found


def _program(name: str, hint: str) -> str:
    if found := shutil.which(name):
        return found
    raise CliError(f"the program {name} is not on PATH", hint)


def _load(
    names: Sequence[str], command: Sequence[str], file: Path, console: Console, seconds: float
) -> None:
    console.pending(f"Loading {len(names)} images, {megabytes(file.stat().st_size)}")
    shown = " ".join(command)
    try:
        done = subprocess.run(  # noqa: S603 - ctr or kind
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds,
        )
    except OSError as error:
        raise CliError(f"{command[0]} cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise CliError(f"'{shown}' has not ended after {seconds:g} s and was killed") from error
    if done.returncode:
        said = "\n".join(done.stdout.strip().splitlines()[-_LAST_LINES:])
        raise CliError(
            f"'{shown}' ended with exit code {done.returncode}: {said}",
            "containerd belongs to root; --address names its socket where it is not the usual one.",
        )
    for name in names:
        console.success(f"{name} is loaded")
