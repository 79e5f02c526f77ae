"""A cluster for tests: ``make cluster``, ``make cluster-down``, ``make cluster-tools``.

Used in this order: the one ``$KUBECONFIG`` leads to, one by kind, or a real one-node cluster made
here of programs that are built from source: no image is pulled, root is needed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from cluster import build, kind, loading, machine, node
from cluster.addresses import KUBECONFIG
from cluster.kubectl import CommandError, given, kubectl
from cluster.machine import ClusterError
from cluster.programs import BUILDS, CACHE, path
from tools.alone import alone
from tools.images import built_images

_USAGE = "python -m cluster tools | check | up | load | down | in COMMAND..."


def main(arguments: list[str]) -> int:
    """One command; the exit code is 0 if it was done."""
    command, *rest = arguments or [""]
    try:
        match command:
            case "tools":
                return build.main()
            case "check":
                if why_not := obstacle():
                    print(why_not)
                    return 1
            case "up" | "load" | "down":
                with alone(CACHE / "cluster.lock", "the cluster"):
                    {"up": up, "load": load, "down": down}[command]()
            case "node":
                node.main()
            case "in":
                words = machine.inside(*rest)
                os.execvp(words[0], words)
            case _:
                print(_USAGE, file=sys.stderr)
                return 2
    except (ClusterError, CommandError, subprocess.SubprocessError) as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    return 0


def obstacle() -> str:
    """Why no cluster can be had here; empty if one can."""
    return "" if given() or kind.is_usable() else _obstacle_to_local()


def up() -> None:
    """Bring it up unless it is up. Raises ``ClusterError``."""
    started = time.monotonic()
    if theirs := given():
        print(f"The cluster of {theirs} is used: {kubectl('cluster-info').splitlines()[0]}")
        return
    if kind.is_usable():
        if not kind.is_up():
            kind.up()
    elif not machine.is_up():
        _need_local()
        print("A local cluster: etcd, Kubernetes, containerd, CoreDNS …", flush=True)
        machine.up()
        loading.load_pause()
    print(f"Up in {time.monotonic() - started:.1f} s: export KUBECONFIG={KUBECONFIG}", flush=True)


def load() -> None:
    """Bring the images that are built into the cluster. Raises ``ClusterError``."""
    started = time.monotonic()
    names = built_images()
    if given():
        print("The images must be where the cluster of $KUBECONFIG finds them:", *names)
        return
    if kind.is_usable():
        loading.load_into_kind(names)
    else:
        loading.load_into_node(names)
    print(f"Images loaded in {time.monotonic() - started:.1f} s", flush=True)


def down() -> None:
    """End it; one that ``$KUBECONFIG`` leads to is nobody's to end here."""
    if given():
        print("The cluster of $KUBECONFIG is left alone.")
    elif kind.is_usable() and kind.is_up():
        kind.down()
    else:
        machine.down()


def _need_local() -> None:
    if why_not := _obstacle_to_local():
        raise ClusterError(why_not)


def _obstacle_to_local() -> str:
    if os.geteuid() != 0:
        return "no $KUBECONFIG, no kind with a container engine; a local cluster needs root"
    if missing := [build.name for build in BUILDS if not path(build.name).exists()]:
        return f"not here: {', '.join(missing)}: `make cluster-tools`"
    return machine.obstacle()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
