"""A small Debian with systemd as a disk image, made by debootstrap once and kept in the cache.

``DAPR_TEST_CACHE`` says where. Nothing of it is ever started here but in a virtual machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.alone import alone
from tools.base_image import SUITE, mirror
from tools.image_parts import requirements

ROOT = Path(__file__).resolve().parents[2]
FILES = Path(__file__).parent / "guest" / "root"
"""What the image holds beside Debian's packages."""
PROGRAMS = ("qemu-system-x86_64", "debootstrap", "mke2fs")
_PACKAGES = (
    "curl",
    "dbus",
    "initramfs-tools",
    "iproute2",
    "linux-image-cloud-amd64",
    "procps",
    "python3",
    "python3-venv",
    "redis-server",
    "systemd",
    "systemd-sysv",
    "udev",
)
_ENABLED = ("scenario.service", "systemd-networkd.service", "systemd-networkd-wait-online.service")
# debootstrap mounts /proc and /sys below the root: gone with it, whatever happens meanwhile.
_OWN_MOUNTS = ("unshare", "--mount", "--fork", "--kill-child")
_SECONDS = 900.0
_DISK = "2G"
_PYTHON = (3, 11)
_PIP = ("-m", "pip", "--disable-pip-version-check")
_NEEDLESS = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man")


@dataclass(frozen=True)
class Image:
    """The files a virtual machine starts from."""

    kernel: Path
    initrd: Path
    disk: Path


def what_is_missing() -> str:
    """Why no image can be made or started here; empty when one can."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    if absent := [name for name in PROGRAMS if shutil.which(name, path=path) is None]:
        return f"not here: {', '.join(absent)} (qemu-system-x86, debootstrap, e2fsprogs)"
    if os.geteuid() != 0:
        return "debootstrap needs root"
    if sys.version_info[:2] != _PYTHON:
        return "wheels are made by this Python, and the virtual machine's is 3.11"
    return ""


def image(product: Path, folder: Path) -> Image:
    """A disk in ``folder`` on which a wheel of the product is installed.

    Raises ``subprocess.SubprocessError``.
    """
    cache = Path(os.environ.get("DAPR_TEST_CACHE") or Path.home() / ".cache" / "dapr-runtime-tests")
    system = cache / f"systemd-machine-{_key()}"
    with alone(system.with_suffix(".lock"), "the virtual machine's disk"):
        if not system.exists():
            new = system.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            _build(new)
            new.rename(system)
        root = system / "root"
        shutil.copy(product, root / "opt")
        _install(root, "--force-reinstall", f"/opt/{product.name}")
        disk(root, folder / "disk", _DISK)
    return Image(system / "vmlinuz", system / "initrd", folder / "disk")


def disk(folder: Path, file: Path, size: str) -> None:
    """A file system with what a folder holds; nothing is mounted."""
    _run("mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", str(folder), str(file), size)


def _key() -> str:
    digest = hashlib.sha256(repr((SUITE, _PACKAGES, _DISK, _wanted())).encode())
    own = (path for path in sorted(FILES.rglob("*")) if path.is_file())
    for path in (ROOT / "constraints.txt", Path(__file__), *own):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _wanted() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return sorted(requirements(project, "all"))


def _build(folder: Path) -> None:
    root = folder / "root"
    _run(
        *_OWN_MOUNTS,
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join(_PACKAGES)}",
        SUITE,
        str(root),
        mirror(),
    )
    for name in _NEEDLESS:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    for name in ("etc/resolv.conf", "etc/machine-id"):  # systemd makes the machine's own id
        (root / name).unlink(missing_ok=True)
    (root / "etc/machine-id").touch()
    _install_packages(root)
    shutil.copytree(FILES, root, dirs_exist_ok=True)
    # These only write files; a unit that is enabled starts in the virtual machine.
    _run("env", "SYSTEMD_OFFLINE=1", "chroot", str(root), "systemctl", "enable", *_ENABLED)
    _run("chroot", str(root), "useradd", "--system", "consul")
    for name in ("vmlinuz", "initrd"):
        (found,) = (root / "boot").glob(f"{name}*")
        shutil.move(found, folder / name)


def _install_packages(root: Path) -> None:
    """What the product needs, where the guide installs it."""
    wheels = root / "opt/wheels"
    constraints = str(ROOT / "constraints.txt")
    _run(
        *(sys.executable, *_PIP, "wheel", "-q", "-w", str(wheels), "-c", constraints),
        *_wanted(),
    )
    _run("chroot", str(root), "python3", "-m", "venv", "/opt/dapr")
    _install(root, *(f"/opt/wheels/{wheel.name}" for wheel in wheels.glob("*.whl")))
    shutil.rmtree(wheels)


def _install(root: Path, *words: str) -> None:
    """By this machine's processor: under emulation it takes minutes."""
    words = ("install", "-q", "--isolated", "--no-index", "--no-deps", *words)
    _run("chroot", str(root), "/opt/dapr/bin/python", *_PIP, *words)


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=_SECONDS, env=_environment()
    )
    if done.returncode:
        raise subprocess.SubprocessError(f"{_shown(command)}: {done.stdout[-2000:]}{done.stderr}")


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}


def _shown(command: Sequence[str]) -> str:
    return " ".join(command[:6])
