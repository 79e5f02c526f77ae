"""The node: the first process of its own namespaces brings Kubernetes up and keeps it running."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from pathlib import Path
from string import Template

from cluster.addresses import (
    CGROUP,
    DNS_ADDRESS,
    KEYS,
    LINK_PREFIX,
    MACHINE_ADDRESS,
    NODE,
    NODE_ADDRESS,
    NODE_FILES,
    PAUSE_IMAGE,
    PODS,
    SERVICES,
    STATE,
)
from cluster.kubectl import kubectl, try_kubectl
from cluster.programs import cni_plugins, path
from cluster.supervision import Supervisor, say

BOUND = {"/var/lib/kubelet": "kubelet", "/var/log/pods": "pods"}
"""Folders that Kubernetes has fixed places for → where they really are."""
TEMPORARY = ("/run", "/var/lib/cni", "/var/log/containers")
_ETCD = "http://127.0.0.1:2379"
_ETCD_PEERS = "http://127.0.0.1:2380"
_CPU_WEIGHTS = {"cpu.shares": 1024, "cpu.weight": 100}
"""Files of cgroups, of version 1 and 2 → what a group has."""
_TIMES_AS_MUCH = 8
_CONTAINERD = Path("/run/containerd/containerd.sock")


def main() -> None:
    """Never returns: the end of this process is the end of the node."""
    _separate()
    _connect()
    _write_files()
    _make_cgroups()
    supervisor = Supervisor()
    supervisor.start("containerd", ["containerd", "--config", STATE / "containerd.toml"])
    _start_control_plane(supervisor)
    supervisor.wait_until(_CONTAINERD.exists, 30, "containerd")
    supervisor.wait_until(lambda: try_kubectl("get", "--raw=/readyz") == "ok", 90, "the API server")
    _start_workers(supervisor)
    kubectl("apply", "-f", str(STATE / "objects.yaml"))
    say("everything is started")
    supervisor.run()


def _separate() -> None:
    """Mounts of the node's own; the machine does not see them."""
    _do("mount", "--make-rshared", "/")
    socket.sethostname(NODE)
    (STATE / "etcd").mkdir()
    for target in (*TEMPORARY, str(STATE / "etcd")):
        _do("mount", "-t", "tmpfs", "tmpfs", target)
    for target, name in BOUND.items():
        (STATE / name).mkdir()
        _do("mount", "--bind", str(STATE / name), target)
    _do("mount", "--make-rshared", "/var/lib/kubelet")
    Path("/run/lock").mkdir()


def _connect() -> None:
    """The machine has put ``eth0`` here; a default route is needed to choose addresses by."""
    for command in (
        f"link set lo up|addr add {NODE_ADDRESS}/{LINK_PREFIX} dev eth0|link set eth0 up"
        f"|route add default via {MACHINE_ADDRESS}"
    ).split("|"):
        _do("ip", *command.split())
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
    with contextlib.suppress(OSError):  # a kernel without the module has nothing to switch on
        Path("/proc/sys/net/bridge/bridge-nf-call-iptables").write_text("1", encoding="ascii")


def _write_files() -> None:
    plugins = cni_plugins()
    assert plugins is not None, "no network plugins: `make cluster-tools` installs them"
    values = {
        "cgroup": CGROUP,
        "cni_plugins": str(plugins),
        "dns": DNS_ADDRESS,
        "node": NODE,
        "node_address": NODE_ADDRESS,
        "pause": PAUSE_IMAGE,
        "pods": PODS,
        "state": str(STATE),
    }
    (STATE / "resolv.conf").touch()
    (STATE / "cni").mkdir()
    for source in NODE_FILES.iterdir():
        target = (
            STATE / "cni" / source.name if source.suffix == ".conflist" else STATE / source.name
        )
        text = Template(source.read_text(encoding="utf-8")).substitute(values)
        target.write_text(text, encoding="utf-8")


def cgroup_roots() -> list[Path]:
    """Every hierarchy of version 1, or the one of version 2."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    first = [Path(words[1]) for words in mounts if words[2] == "cgroup"]
    return first or [Path(words[1]) for words in mounts if words[2] == "cgroup2"]


def _make_cgroups() -> None:
    for root in cgroup_roots():
        folder = root / CGROUP
        folder.mkdir(exist_ok=True)
        # Pods are many programs in one group: beside other work it would count as one program.
        for name, default in _CPU_WEIGHTS.items():
            if (folder / name).exists():
                (folder / name).write_text(str(_TIMES_AS_MUCH * default), encoding="ascii")


def _start_control_plane(supervisor: Supervisor) -> None:
    supervisor.start(
        "etcd",
        [
            "etcd",
            f"--data-dir={STATE}/etcd/data",
            f"--listen-client-urls={_ETCD}",
            f"--advertise-client-urls={_ETCD}",
            f"--listen-peer-urls={_ETCD_PEERS}",
            f"--initial-advertise-peer-urls={_ETCD_PEERS}",
            f"--initial-cluster=default={_ETCD_PEERS}",
            "--logger=zap",
            "--log-level=warn",
        ],
    )
    supervisor.start(
        "kube-apiserver",
        [
            path("kube-apiserver"),
            f"--etcd-servers={_ETCD}",
            f"--advertise-address={NODE_ADDRESS}",
            f"--service-cluster-ip-range={SERVICES}",
            "--allow-privileged",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--client-ca-file={KEYS}/ca.crt",
            f"--tls-cert-file={KEYS}/apiserver.crt",
            f"--tls-private-key-file={KEYS}/apiserver.key",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={KEYS}/accounts.pub",
            f"--service-account-signing-key-file={KEYS}/accounts.key",
            f"--kubelet-client-certificate={KEYS}/admin.crt",
            f"--kubelet-client-key={KEYS}/admin.key",
            f"--kubelet-certificate-authority={KEYS}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
            "--profiling=false",
        ],
    )


def _start_workers(supervisor: Supervisor) -> None:
    supervisor.start(
        "kube-controller-manager",
        [
            path("kube-controller-manager"),
            f"--kubeconfig={STATE}/kube-controller-manager.kubeconfig",
            "--leader-elect=false",
            "--use-service-account-credentials",
            f"--root-ca-file={KEYS}/ca.crt",
            f"--service-account-private-key-file={KEYS}/accounts.key",
            f"--cluster-signing-cert-file={KEYS}/ca.crt",
            f"--cluster-signing-key-file={KEYS}/ca.key",
            "--profiling=false",
        ],
    )
    supervisor.start(
        "kubelet",
        [
            path("kubelet"),
            f"--config={STATE}/kubelet.yaml",
            f"--kubeconfig={STATE}/kubelet.kubeconfig",
            f"--hostname-override={NODE}",
            f"--node-ip={NODE_ADDRESS}",
        ],
    )
    supervisor.start(
        "kube-scheduler",
        [
            path("kube-scheduler"),
            f"--kubeconfig={STATE}/kube-scheduler.kubeconfig",
            "--leader-elect=false",
        ],
    )
    supervisor.start("kube-proxy", [path("kube-proxy"), f"--config={STATE}/kube-proxy.yaml"])
    supervisor.start("coredns", [path("coredns"), "-conf", STATE / "Corefile"])


def _do(*command: str) -> None:
    subprocess.run(command, check=True, timeout=30)
