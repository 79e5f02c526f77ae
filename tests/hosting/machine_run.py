"""A virtual machine with systemd that plays ``guest/scenario.py`` once, and what it tells.

Its disk's changes and its network are its own; nothing of it is left when it is off.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.consul import consul_program
from hosting.machine_image import ROOT, disk, image

_GUEST = Path(__file__).parent / "guest"
_SECONDS = 1500.0
_BUILD_SECONDS = 300.0
_TAIL = 40


class MachineError(AssertionError):
    """The scenario was not played to its end; the text is what the machine said last."""


def facts(folder: Path) -> Mapping[str, Any]:
    """Play it, with its files in ``folder``. Raises ``MachineError``."""
    found = image(_wheel(folder), folder)
    disk(_payload(folder), folder / "payload.disk", "400M")
    console, told = folder / "console", folder / "facts"
    command = [
        *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", *_processor()),
        *("-m", "1536", "-smp", "2", "-nodefaults", "-no-user-config", "-display", "none"),
        *("-kernel", str(found.kernel), "-initrd", str(found.initrd)),
        *("-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet"),
        *("-drive", f"file={found.disk},if=virtio,format=raw,snapshot=on"),
        *("-drive", f"file={folder / 'payload.disk'},if=virtio,format=raw,readonly=on"),
        *("-netdev", "user,id=net,restrict=on"),
        *("-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"),
        *("-serial", f"file:{console}", "-serial", f"file:{told}"),
    ]
    # What changes on the disk is written there.
    environment = {**os.environ, "TMPDIR": str(folder)}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"not off after {_SECONDS:g} s\n{_tail(console)}") from error
    if done.returncode:
        raise MachineError(f"{done.stderr}\n{_tail(console)}")
    facts = {fact["fact"]: fact["value"] for fact in _lines(told)}
    if "failure" in facts:
        raise MachineError(f"{facts['failure']}\n{facts.get('journal of the failure')}")
    return facts


def _processor() -> list[str]:
    """Some machines have a /dev/kvm that runs no common kernel: it is used when asked for."""
    if os.environ.get("TEST_MACHINE") == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi", "-cpu", "Nehalem"]


def _wheel(folder: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)],
        check=True,
        timeout=_BUILD_SECONDS,
    )
    (found,) = folder.glob("*.whl")
    return found


def _payload(folder: Path) -> Path:
    """What the scenario needs beside the installed product."""
    payload = folder / "payload"
    shutil.copytree(ROOT / "packaging", payload / "packaging")
    for name in ("scenario.py", "facts.py", "app.py"):
        shutil.copy(_GUEST / name, payload)
    shutil.copy(ROOT / "docs" / "virtual-machines.md", payload / "guide.md")
    shutil.copy(consul_program(), payload / "consul")
    return payload


def _lines(told: Path) -> Iterator[dict[str, Any]]:
    for line in told.read_text(encoding="ascii").splitlines():
        yield json.loads(line)


def _tail(console: Path) -> str:
    return "\n".join(console.read_text(errors="replace").splitlines()[-_TAIL:])
