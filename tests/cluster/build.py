"""Build the Kubernetes programs that tests start, into ~/.cache/dapr-runtime-tools/kube.

No registry of images is asked: the programs come from Go modules (``go/``), etcd from Debian.
The first build takes minutes and gigabytes of Go's build cache, a repeat seconds. ``KUBE_TOOLS``
names another folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

_SOURCE = Path(__file__).resolve().parent / "go"
_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)


def tools_folder() -> Path:
    """Where the programs are."""
    given = os.environ.get("KUBE_TOOLS")
    return Path(given) if given else Path.home() / ".cache" / "dapr-runtime-tools" / "kube"


def main() -> int:
    """Build what is not there yet or has changed; Go knows."""
    if shutil.which("go") is None:
        print("go is not here: the Kubernetes programs cannot be built", file=sys.stderr)
        return 1
    folder = tools_folder()
    folder.mkdir(parents=True, exist_ok=True)
    print("Building the Kubernetes programs; the first time takes several minutes …", flush=True)
    built = folder / "kube.new"
    command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", _link_flags()]
    subprocess.run(
        [*command, "-o", str(built), "./kube"],
        cwd=_SOURCE,
        env=dict(os.environ, CGO_ENABLED="0"),
        check=True,
    )
    built.replace(folder / "kube")  # a running server keeps the old file
    for name in _PROGRAMS:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to("kube")
    print(f"Built into {folder}")
    if shutil.which("etcd") is None:
        print("etcd is not here: install the package etcd-server", file=sys.stderr)
        return 1
    return 0


def _link_flags() -> str:
    """The version that the API server says it has: clients decide by it."""
    text = (_SOURCE / "go.mod").read_text()
    found = re.search(r"^\tk8s\.io/kubernetes v((\d+)\.(\d+)\.\d+)$", text, re.MULTILINE)
    assert found is not None, "go.mod names no version of k8s.io/kubernetes"
    values = {
        "gitVersion": f"v{found[1]}",
        "gitMajor": found[2],
        "gitMinor": found[3],
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    named = (f"-X k8s.io/component-base/version.{name}={text}" for name, text in values.items())
    return " ".join(["-s -w", *named])


if __name__ == "__main__":
    sys.exit(main())
