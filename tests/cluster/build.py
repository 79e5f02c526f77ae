"""Get the programs of a test cluster: ``make cluster-tools``.

No registry of images is asked: Kubernetes, CoreDNS and Helm come from Go modules (``go/``), etcd,
containerd and the rest from Debian. The first build takes some ten minutes and gigabytes of Go's
build cache; a repeat does nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

from cluster.programs import (
    BUILDS,
    CNI_PACKAGE,
    DEBIAN,
    HELM,
    KUBE,
    SOURCE,
    Build,
    cni_plugins,
    elsewhere,
    folder,
    is_built,
    mark_built,
    path,
)

_BUILD_SECONDS = 3600


def main() -> int:
    """Get everything that is not here; the exit code says whether all of it is."""
    folder().mkdir(parents=True, exist_ok=True)
    got = [_get(build) for build in BUILDS]
    print(f"The cluster's programs are in {folder()}", flush=True)
    return 0 if _install_from_debian() and all(got) else 1


def _get(build: Build) -> bool:
    named = f"{build.name} {build.version}".strip()
    if is_built(build):
        return True
    if found := elsewhere(build):
        print(f"{named}: found as {found}", flush=True)
        path(build.name).unlink(missing_ok=True)
        path(build.name).symlink_to(found)
        mark_built(build)
        return True
    if shutil.which("go") is None:
        print(f"{named} is not here and cannot be built without go", file=sys.stderr)
        return False
    print(f"{named}: building{', several minutes the first time' if build is KUBE else ''} …")
    started = time.monotonic()
    _build(build)
    mark_built(build)
    print(f"{named}: built in {time.monotonic() - started:.0f} s", flush=True)
    return True


def _build(build: Build) -> None:
    new = path(f"{build.name}.new")
    command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", _link_flags(build)]
    subprocess.run(
        [*command, "-o", str(new), build.package],
        cwd=SOURCE,
        env=dict(os.environ, CGO_ENABLED="0", GOWORK="off"),
        check=True,
        timeout=_BUILD_SECONDS,
    )
    new.replace(path(build.name))  # a running server keeps the old file


def _link_flags(build: Build) -> str:
    """The versions that programs say they have: clients decide by them."""
    major, minor, _ = KUBE.version.split(".")
    values = {}
    if build is KUBE:
        base = "k8s.io/component-base/version"
        values = {
            f"{base}.gitVersion": f"v{build.version}",
            f"{base}.gitMajor": major,
            f"{base}.gitMinor": minor,
            f"{base}.gitTreeState": "clean",
            f"{base}.buildDate": "1970-01-01T00:00:00Z",
        }
    elif build is HELM:
        values = {f"{build.module}/internal/version.version": f"v{build.version}"}
        for holder in ("lint/rules", "chartutil"):
            values[f"{build.module}/pkg/{holder}.k8sVersionMajor"] = major
            values[f"{build.module}/pkg/{holder}.k8sVersionMinor"] = minor
    return " ".join(["-s -w", *(f"-X {name}={text}" for name, text in values.items())])


def _install_from_debian() -> bool:
    """As root; else say what is missing."""
    missing = [package for program, package in DEBIAN.items() if not _which(program)]
    if cni_plugins() is None:
        missing.append(CNI_PACKAGE)
    if not missing:
        return True
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"not here: {', '.join(missing)}; install them as root", file=sys.stderr)
        return False
    print(f"Installing {', '.join(missing)} …", flush=True)
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    subprocess.run([*apt, "update"], check=True, stdout=subprocess.DEVNULL)
    install = [*apt, "install", "-y", "--no-install-recommends", *missing]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    return True


def _which(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
