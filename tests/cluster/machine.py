"""The local cluster as the machine sees it: one process tree in namespaces of its own, and a link.

Killing the tree's first process ends everything in it; what is outside is put back afterwards.
The machine's own container runtime, its firewall and its ``/run`` are not touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster.addresses import (
    CGROUP,
    KUBECONFIG,
    LINK,
    LINK_PREFIX,
    LOGS,
    MACHINE_ADDRESS,
    NODE_ADDRESS,
    PIDS,
    PODS,
    PROCESSES,
    SERVICES,
    STATE,
)
from cluster.keys import write_keys
from cluster.kubectl import try_kubectl
from cluster.node import BOUND, TEMPORARY, cgroup_roots

# The kubelet sets these for the whole machine.
_SYSCTLS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
_NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc")
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


class ClusterError(Exception):
    """The cluster cannot be had; the text says why and what to do."""


def obstacle() -> str:
    """What keeps a node from being started on this machine; empty if nothing does."""
    tried = subprocess.run(
        ["unshare", *_NAMESPACES, "--fork", "mount", "--make-rshared", "/"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    if tried.returncode:
        return f"no namespaces of a node's own: {tried.stderr.strip()}"
    if not all(os.access(root, os.W_OK) for root in cgroup_roots()):
        return "the cgroups of this machine cannot be written"
    return ""


def is_up() -> bool:
    """Whether the node runs and answers."""
    return _is_alive(_noted().get("node")) and try_kubectl("get", "--raw=/readyz") == "ok"


def up() -> None:
    """Bring a new, empty cluster up. Raises ``ClusterError``."""
    down()
    LOGS.mkdir(parents=True)
    write_keys()
    _note(_remember_machine())
    try:
        _start_node()
        wait_until(lambda: "Ready" in _conditions(), 120, "the node is ready")
        wait_until(lambda: bool(_default_account()), 60, "accounts are made")
    except BaseException:
        if not os.environ.get("KEEP"):
            down()
        raise


def down() -> None:
    """End the cluster, and put the machine back as it was."""
    noted = _noted()
    for name in ("node", "holder"):
        if _is_alive(noted.get(name)):
            # Nothing of a test cluster is kept, so nothing needs a slow goodbye.
            os.kill(noted[name][0], signal.SIGKILL)
    wait_until(lambda: not any(_is_alive(noted.get(n)) for n in ("node", "holder")), 30, "its end")
    subprocess.run(
        ["ip", "link", "del", LINK], check=False, capture_output=True, env=_environment()
    )
    for name, value in noted.get("sysctls", {}).items():
        with contextlib.suppress(OSError):
            Path("/proc/sys", name).write_text(value, encoding="ascii")
    for root in cgroup_roots() if noted else ():
        _remove_cgroup(root / CGROUP)
    for folder in noted.get("made", []):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
    shutil.rmtree(STATE, ignore_errors=True)


def inside(*command: str) -> list[str]:
    """A command line that runs in the node. Raises ``ClusterError``."""
    return ["nsenter", "-t", str(node_pid()), "-m", "-n", "-p", "-u", "-i", *command]


def node_pid() -> int:
    """The node's first process, as the machine counts. Raises ``ClusterError``."""
    noted = _noted()
    if not _is_alive(noted.get("node")):
        raise ClusterError("no local cluster is up: `make cluster`")
    return int(noted["node"][0])


def kill(program: str) -> None:
    """End one of the node's programs; it is started again. Raises ``ClusterError``."""
    pid = (PIDS / program).read_text(encoding="ascii")
    subprocess.run(inside("kill", "-KILL", pid), check=True, timeout=30)


def wait_until(is_so: Callable[[], bool], seconds: float, what: str) -> None:
    """Raises ``ClusterError`` when it takes too long."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {seconds:.0f} s in vain until {what}; see {LOGS}")
        time.sleep(0.1)


# --- the node's processes -----------------------------------------------------------------------


def _start_node() -> None:
    with (LOGS / "node.log").open("wb") as log:
        holder = subprocess.Popen(
            [
                *("unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc"),
                *(sys.executable, "-m", "cluster", "node"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=_environment(),
        )
    _note({"holder": _identity(holder.pid)})
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
    found: list[str] = []

    def has_child() -> bool:
        if holder.poll() is not None:
            raise ClusterError(f"the node did not start; see {LOGS / 'node.log'}")
        found[:] = children.read_text(encoding="ascii").split()
        return bool(found)

    wait_until(has_child, 10, "the node has a process")
    node = int(found[0])
    _note({"node": _identity(node)})
    own = Path("/proc/self/ns/net").readlink()
    wait_until(lambda: Path(f"/proc/{node}/ns/net").readlink() != own, 10, "it has a network")
    _link(node)


def _link(node: int) -> None:
    """A cable between the machine and the node, and the routes through it."""
    for command in (
        f"link add {LINK} type veth peer name eth0 netns {node}",
        f"addr add {MACHINE_ADDRESS}/{LINK_PREFIX} dev {LINK}",
        f"link set {LINK} up",
        f"route replace {PODS} via {NODE_ADDRESS} dev {LINK}",
        f"route replace {SERVICES} via {NODE_ADDRESS} dev {LINK}",
    ):
        subprocess.run(["ip", *command.split()], check=True, env=_environment(), timeout=30)


def _environment() -> dict[str, str]:
    """Servers are where only root's path leads."""
    return {**os.environ, "PATH": f"{os.environ['PATH']}:{_SBIN}", "KUBECONFIG": str(KUBECONFIG)}


def _conditions() -> str:
    path = "{.items[*].status.conditions[?(@.status=='True')].type}"
    return try_kubectl("get", "nodes", "-o", f"jsonpath={path}")


def _default_account() -> str:
    return try_kubectl("get", "serviceaccount", "default", "-o", "name")


# --- notes about what runs ----------------------------------------------------------------------


def _remember_machine() -> dict[str, Any]:
    """What ``down`` puts back."""
    made = []
    for folder in (*BOUND, *TEMPORARY):
        if not Path(folder).is_dir():
            Path(folder).mkdir(parents=True)
            made.append(folder)
    sysctls = {name: Path("/proc/sys", name).read_text().strip() for name in _SYSCTLS}
    return {"made": made, "sysctls": sysctls}


def _noted() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(PROCESSES.read_bytes())
    except FileNotFoundError:
        return {}
    return found


def _note(more: dict[str, Any]) -> None:
    new = PROCESSES.with_suffix(".new")
    new.write_text(json.dumps({**_noted(), **more}), encoding="utf-8")
    new.replace(PROCESSES)


def _identity(pid: int) -> list[object]:
    return [pid, _birth(pid)]


def _birth(pid: int) -> str:
    """When a process started: a number that came round again is another process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _is_alive(identity: list[Any] | None) -> bool:
    return identity is not None and bool(identity[1]) and _birth(identity[0]) == identity[1]


def _remove_cgroup(folder: Path) -> None:
    """From the leaves up; the kernel needs a moment to see that a group is empty."""
    for path, _, _ in os.walk(folder, topdown=False):
        for _ in range(50):
            try:
                Path(path).rmdir()
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.02)
            else:
                break
