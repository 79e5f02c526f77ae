"""A DNS server as a cluster has one, in a network of the test's own, and programs run there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness.programs import Program

_ROOT = Path(__file__).parents[1]
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


class DnsServer(Program):
    """dnsmasq on the port every lookup goes to; it answers for names that end in ``.local``."""

    def __init__(self, folder: Path) -> None:
        self.hosts = folder / "hosts"
        self.hosts.write_text("")
        flags = ["--no-daemon", "--no-resolv", "--no-hosts", f"--addn-hosts={self.hosts}"]
        more = ["--listen-address=127.0.0.1", "--bind-interfaces", "--user=root", "--group=root"]
        super().__init__(["dnsmasq", *flags, *more, "--log-queries", "--local=/local/"])

    def serve(self, name: str, *addresses: str) -> None:
        """From now on the name stands for these, and there is no other."""
        self.hosts.write_text("".join(f"{address} {name}\n" for address in addresses))
        seen = len([line for line in self.lines if "read " in line])
        self.signal(signal.SIGHUP)
        self.wait_lines(f"read {self.hosts}", seen + 1)

    def queries(self, name: str) -> int:
        """How often the name's IPv4 addresses were asked for."""
        return len([line for line in self.lines if f"query[A] {name}" in line])


def run_in_own_network(program: Path, folder: Path, seconds: float = 60.0) -> str:
    """Run a Python program where 127.0.0.0/8 is all there is, and asks a ``DnsServer`` for names.

    It gets the folder as its argument. Returns its standard output; its failure is the test's. The
    test is skipped where that cannot be had.
    """
    for needed in ("unshare", "ip", "mount", "dnsmasq"):
        if shutil.which(needed, path=_PATH) is None:
            pytest.skip(f"{needed} is not installed")
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    command = (
        f"mount --bind {folder}/resolv.conf /etc/resolv.conf && ip link set lo up && "
        f"exec {sys.executable} {program} {folder}"
    )
    run = subprocess.run(
        ["unshare", "-rnm", "sh", "-c", command],
        env={**os.environ, "PATH": _PATH, "PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path])},
        capture_output=True,
        timeout=seconds,
    )
    said = run.stdout.decode() + run.stderr.decode()
    if "unshare: " in said or "mount: " in said or "Operation not permitted" in said:
        pytest.skip("no namespaces here")
    assert run.returncode == 0, said
    return run.stdout.decode()
