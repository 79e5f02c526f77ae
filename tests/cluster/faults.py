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
_REFUSED = ("-j", "REJECT", "--reject-with", "tcp-reset")
_COMPACTION = Path(__file__).with_name("compaction.py")


def kill_container(pod: Mapping[str, Any], container: str) -> None:
    """SIGKILL its first process. Raises ``ClusterError``."""
    _run("kill", "-KILL", _process(pod, container))


def inside_network(pod: Mapping[str, Any], container: str) -> list[str]:
    """A command line that runs in the network of a pod. Raises ``ClusterError``."""
    return inside("nsenter", "-t", _process(pod, container), "-n")


@contextmanager
def cut_off_from_api_server(address: str) -> Iterator[None]:
    """Nothing comes through between a pod and the API server; it hears of nothing any more."""
    rules = (
        ("OUTPUT", "-d", address, "-p", "tcp", "--sport", "6443", "-j", "DROP"),
        ("INPUT", "-s", address, "-p", "tcp", "--dport", "6443", *_REFUSED),
    )
    for rule in rules:
        _run("iptables", "-I", *rule)
    try:
        yield
    finally:
        for rule in rules:
            _run("iptables", "-D", *rule)


def compact_etcd() -> None:
    """Forget every version but the newest, as the API server does every five minutes."""
    _run(sys.executable, "-P", str(_COMPACTION))


def _process(pod: Mapping[str, Any], container: str) -> str:
    """The first process of a container, as the node counts it."""
    status = pod["status"]
    every = [*status["containerStatuses"], *status.get("initContainerStatuses", ())]
    identity = next(each["containerID"] for each in every if each["name"] == container)
    name = identity.removeprefix("containerd://")
    for line in _run("ctr", "-n", "k8s.io", "tasks", "ls").splitlines():
        if line.startswith(name):
            return line.split()[1]
    raise ClusterError(f"container {container} does not run")


def _run(*command: str) -> str:
    done = subprocess.run(inside(*command), capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout
