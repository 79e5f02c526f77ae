"""Call ``kubectl`` and ``helm``, ours if they are built, the machine's otherwise."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from cluster.addresses import KUBECONFIG
from cluster.programs import path

_SECONDS = 60.0


class CommandError(Exception):
    """A command failed; the text is what it said."""


def given() -> str:
    """A cluster that is not ours, by ``$KUBECONFIG``; empty if none."""
    found = os.environ.get("KUBECONFIG", "")
    return "" if found == str(KUBECONFIG) else found


def kubeconfig() -> Path:
    """Of the cluster that is used: ``$KUBECONFIG``, or ours."""
    return Path(given() or KUBECONFIG)


def kubectl(*arguments: str, seconds: float = _SECONDS, text: str | None = None) -> str:
    """Run it to its end; ``text`` is its input. Raises ``CommandError``."""
    return _run("kubectl", arguments, seconds, text)


def try_kubectl(*arguments: str) -> str:
    """The same; empty where it fails."""
    try:
        return kubectl(*arguments, seconds=10.0)
    except CommandError:
        return ""


def get(*arguments: str) -> dict[str, Any]:
    """``kubectl get``, parsed. Raises ``CommandError``."""
    found: dict[str, Any] = json.loads(kubectl("get", *arguments, "-o", "json"))
    return found


def helm(*arguments: str, seconds: float = 300.0) -> str:
    """Run it to its end. Raises ``CommandError``."""
    return _run("helm", arguments, seconds, None)


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Start ``kubectl`` or ``helm``: its input and what it says are pipes."""
    return subprocess.Popen(
        [_found(program), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    )


def _run(program: str, arguments: tuple[str, ...], seconds: float, text: str | None) -> str:
    try:
        done = subprocess.run(
            [_found(program), *arguments],
            check=False,
            capture_output=True,
            text=True,
            input=text,
            timeout=seconds,
            env=_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{program} {' '.join(arguments)}: no end in {seconds:.0f} s") from error
    if done.returncode:
        raise CommandError(f"{program} {' '.join(arguments)}:\n{done.stderr}{done.stdout}".strip())
    return done.stdout


def _found(program: str) -> str:
    found = path(program) if path(program).exists() else shutil.which(program)
    if found is None:
        raise CommandError(f"{program} is not here: `make cluster-tools` gets it")
    return str(found)


def _environment() -> dict[str, str]:
    return {**os.environ, "KUBECONFIG": str(kubeconfig())}
