"""The programs of a cluster: which ones, in which version, and where they are on this machine."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "go"
CACHE = Path.home() / ".cache" / "dapr-runtime-tools"
_ELSEWHERE = Path.home() / ".cache" / "kube-kit" / "bin"
_VERSION_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Build:
    """One binary: its main package, the module that gives it its version, how it tells it."""

    name: str
    package: str
    module: str = ""
    asked: Sequence[str] = ()
    names: Sequence[str] = ()
    """What it is called by beside its own name: it does what its name says."""

    @property
    def version(self) -> str:
        """As ``go.mod`` pins it, such as ``1.34.4``; empty for what is ours."""
        if not self.module:
            return ""
        text = (SOURCE / "go.mod").read_text(encoding="utf-8")
        found = re.search(rf"^\t{re.escape(self.module)} v(\S+)$", text, re.MULTILINE)
        assert found is not None, f"go.mod names no version of {self.module}"
        return found[1]


KUBE = Build(
    "kube",
    "./kube",
    "k8s.io/kubernetes",
    ["kube-apiserver", "--version"],
    (
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
        "kubectl",
        "kubelet",
    ),
)
COREDNS = Build("coredns", "./coredns", "github.com/coredns/coredns", ["coredns", "-version"])
HELM = Build("helm", "helm.sh/helm/v3/cmd/helm", "helm.sh/helm/v3", ["helm", "version", "--short"])
PAUSE = Build("pause", "./pause")
BUILDS = (KUBE, COREDNS, HELM, PAUSE)

# From Debian: program → package. The control plane alone needs only the first.
DEBIAN = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "socat": "socat",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "debootstrap": "debootstrap",  # for the images' base, where there is no container engine
}
CNI_PLUGINS = ("/usr/lib/cni", "/opt/cni/bin")
CNI_PACKAGE = "containernetworking-plugins"


def folder() -> Path:
    """Where ``make cluster-tools`` puts programs; ``KUBE_TOOLS`` names another place."""
    given = os.environ.get("KUBE_TOOLS")
    return Path(given) if given else CACHE / "kube"


def path(name: str) -> Path:
    """One of ours, whether it is there or not."""
    return folder() / name


def is_built(build: Build) -> bool:
    """Whether the binary is there and made from the sources as they are now."""
    binary, stamp = path(build.name), _stamp(build)
    return (
        binary.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == sources(build)
    )


def mark_built(build: Build) -> None:
    """Note what the binary was made from, and give it its other names."""
    for name in build.names:
        path(name).unlink(missing_ok=True)
        path(name).symlink_to(build.name)
    _stamp(build).write_text(sources(build), encoding="utf-8")


def sources(build: Build) -> str:
    """A digest of what decides about the binary."""
    digest = hashlib.sha256(build.package.encode())
    own = sorted((SOURCE / build.package).glob("*.go")) if build.package.startswith(".") else []
    pinned = [SOURCE / "go.mod", SOURCE / "go.sum"] if build.module else []
    for file in [*pinned, *own]:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def elsewhere(build: Build) -> Path | None:
    """The same program in the same version, where another checkout's cluster keeps its own."""
    found = _ELSEWHERE / build.name
    if not build.asked or not found.exists():
        return None
    name, *arguments = build.asked
    try:
        said = subprocess.run(
            [_ELSEWHERE / name, *arguments],
            check=True,
            capture_output=True,
            text=True,
            timeout=_VERSION_SECONDS,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return found if re.search(rf"[v-]{re.escape(build.version)}\b", said) else None


def cni_plugins() -> Path | None:
    """The folder of the network plugins."""
    return next((Path(each) for each in CNI_PLUGINS if Path(each, "bridge").exists()), None)


def _stamp(build: Build) -> Path:
    return path(f".{build.name}.sources")
