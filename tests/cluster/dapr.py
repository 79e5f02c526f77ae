"""The CLI against the cluster, from the machine or from the node."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from cluster.kubectl import CommandError, kubeconfig
from cluster.programs import folder
from harness.programs import console_script


def run(*words: str, beside: Sequence[str] = (), seconds: float) -> str:
    """What it says when it does what it was asked. Raises ``CommandError``.

    ``beside`` are words before the command, such as those that lead into the node.
    """
    path = os.pathsep.join((str(folder()), os.environ["PATH"]))
    done = subprocess.run(
        [*beside, console_script("dapr"), *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, "KUBECONFIG": str(kubeconfig()), "PATH": path},
    )
    if done.returncode or "❌" in done.stderr:
        raise CommandError(f"dapr {' '.join(words)}:\n{done.stdout}{done.stderr}")
    return done.stdout
