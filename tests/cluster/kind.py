"""A cluster by kind, when kind and a container engine are here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from cluster.addresses import KUBECONFIG
from tools.images import engine

NAME = "dapr"
_CONFIG = Path(__file__).resolve().parents[2] / "kind-config.yaml"
_SECONDS = 600


def is_usable() -> bool:
    """Whether kind could bring a cluster up here."""
    return shutil.which("kind") is not None and bool(engine())


def is_up() -> bool:
    """Whether ours is there."""
    done = subprocess.run(
        ["kind", "get", "clusters"], check=True, capture_output=True, text=True, timeout=60
    )
    return NAME in done.stdout.split()


def up() -> None:
    """Bring it up as ``kind-config.yaml`` says."""
    KUBECONFIG.parent.mkdir(parents=True, exist_ok=True)
    command = ["kind", "create", "cluster", "--name", NAME, "--config", str(_CONFIG)]
    command += ["--kubeconfig", str(KUBECONFIG), "--wait", "120s"]
    subprocess.run(command, check=True, timeout=_SECONDS)


def down() -> None:
    """End it."""
    command = ["kind", "delete", "cluster", "--name", NAME, "--kubeconfig", str(KUBECONFIG)]
    subprocess.run(command, check=True, timeout=_SECONDS)
