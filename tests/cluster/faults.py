"""What can happen to a node: programs and containers end, lines are cut, versions are gone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.machine import ClusterError, inside

_SECONDS = 30
_COMPACTION = Path(__file__).with_name("compaction.py")


def kill_container(pod: Mapping[str, Any], container: str) -> None:
    """SIGKILL its first process. Raises ``ClusterError``."""
    status = pod["status"]
    every = [*status["containerStatuses"], *status.get("initContainerStatuses", ())]
    identity = next(each["containerID"] for each in every if each["name"] == container)
    name = identity.removeprefix("containerd://")
    for line in _run("ctr", "-n", "k8s.io", "tasks", "ls").splitlines():
        if line.startswith(name):
            _run("kill", "-KILL", line.split()[1])
            return
    raise ClusterError(f"container {container} does not run")


@contextmanager
def cut_off_from_api_server(address: str) -> Iterator[None]:
    """A pod's connections to the API server are closed, and no new one is let through."""
    rule = ("INPUT", "-s", address, "-p", "tcp", "--dport", "6443")
    reset = ("-j", "REJECT", "--reject-with", "tcp-reset")
    _run("iptables", "-I", *rule, *reset)
    try:
        yield
    finally:
        _run("iptables", "-D", *rule, *reset)


def compact_etcd() -> None:
    """Forget every version but the newest, as the API server does every five minutes."""
    _run(sys.executable, "-P", str(_COMPACTION))


def _run(*command: str) -> str:
    done = subprocess.run(inside(*command), capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout
