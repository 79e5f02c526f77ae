"""A base image without a registry: Debian's smallest system with its Python, by debootstrap.

It stands in for ``python:3.11-slim``: Debian 12's Python is 3.11 too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SUITE = "bookworm"
_PACKAGES = ("python3", "python3-venv", "ca-certificates")
_NEEDLESS = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
    "usr/share/doc",
    "usr/share/locale",
    "usr/share/man",
)
_SECONDS = 900


class BaseImageError(Exception):
    """The root file system cannot be made; the text says why."""


def root_file_system(cache: Path) -> Path:
    """The folder, made when it is not there yet. Raises ``BaseImageError``."""
    found = cache / "rootfs" / f"python-3.11-{SUITE}"
    if found.exists():
        return found
    if shutil.which("debootstrap") is None:
        raise BaseImageError("debootstrap is not here: install it")
    print("The base image: debootstrap, about a minute and a half, once …", flush=True)
    new = found.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", SUITE]
    try:
        subprocess.run(
            [*command, str(new), mirror()],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
        )
    except subprocess.SubprocessError as error:
        said = str(getattr(error, "stdout", "") or error).strip().splitlines()
        raise BaseImageError("\n".join(["debootstrap failed:", *said[-5:]])) from error
    _clean(new)
    new.rename(found)
    return found


def _clean(root: Path) -> None:
    """Leave out what no program reads, and what only a running machine has."""
    for name in _NEEDLESS:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    for name in ("etc/resolv.conf", "etc/hostname", "etc/machine-id"):
        (root / name).unlink(missing_ok=True)
    for device in (root / "dev").iterdir():
        if device.is_char_device() or device.is_block_device():
            device.unlink()


def mirror() -> str:
    """Where this machine's apt gets the suite from; ``DEBIAN_MIRROR`` names another place."""
    if given := os.environ.get("DEBIAN_MIRROR"):
        return given
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    for line in listed.splitlines():
        uri, _, codename = line.partition(" ")
        if codename == SUITE:
            return uri
    raise BaseImageError(f"apt knows no source of {SUITE}: set DEBIAN_MIRROR")
