"""Get the programs that tests and benchmarks start; say which cannot be had. Never fails.

Debian packages are installed when this runs as root or sudo needs no password. Go programs are
built once, into a cache outside the checkout. Tests that need a program which is not there are
skipped with its name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# Program → Debian package.
PROGRAMS = {
    "redis-server": "redis-server",
    "ps": "procps",
    "pgrep": "procps",
    "dnsmasq": "dnsmasq-base",
}


@dataclass(frozen=True)
class GoProgram:
    """A main package, built as the module in ``tests/harness/go/<name>`` pins it."""

    package: str
    minutes: int


GO_PROGRAMS = {
    "consul": GoProgram("github.com/hashicorp/consul", 5),
    "registry": GoProgram("github.com/distribution/distribution/v3/cmd/registry", 2),
}
_BUILD_SECONDS = 1800
MODULES = Path(__file__).resolve().parents[1] / "tests" / "harness" / "go"
CACHE = Path.home() / ".cache" / "dapr-runtime-tools"


def main() -> int:
    """Install what is missing."""
    _install([program for program in PROGRAMS if not _is_here(program)])
    for name, program in GO_PROGRAMS.items():
        if shutil.which(name) is None:
            _build(name, program)
    return 0


def _is_here(program: str) -> bool:
    # Servers are where only root's path leads.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return shutil.which(program, path=path) is not None


# --- Debian -------------------------------------------------------------------------------------


def _install(missing: list[str]) -> None:
    if not missing:
        return
    command = _apt()
    if command is None:
        print(
            f"not here and not installable without root: {', '.join(missing)}; "
            "tests that need them are skipped",
            file=sys.stderr,
        )
        return
    packages = sorted({PROGRAMS[program] for program in missing})
    print(f"Installing {', '.join(packages)} …", flush=True)
    _run([*command, "update", "-qq"])
    _run([*command, "install", "-y", "-qq", "--no-install-recommends", *packages])
    for program in missing:
        if not _is_here(program):
            print(f"{program} could not be installed; its tests are skipped", file=sys.stderr)


def _apt() -> list[str] | None:
    if shutil.which("apt-get") is None:
        return None
    if os.geteuid() == 0:
        return ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    if shutil.which("sudo") and _run(["sudo", "-n", "true"]):
        return ["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    return None


def _run(command: list[str]) -> bool:
    done = subprocess.run(
        command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return done.returncode == 0


# --- Go -----------------------------------------------------------------------------------------


def _build(name: str, program: GoProgram) -> None:
    """Build in the cache: Go writes beside ``go.mod``, and the checkout stays as it is."""
    wanted = (MODULES / name / "go.mod").read_text(encoding="utf-8")
    binary, stamp = CACHE / "bin" / name, CACHE / "bin" / f"{name}.go.mod"
    if binary.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    if shutil.which("go") is None:
        print(f"{name} is not here and neither is go; its tests are skipped", file=sys.stderr)
        return
    print(f"Building {name}, about {program.minutes} minutes, once …", flush=True)
    binary.parent.mkdir(parents=True, exist_ok=True)
    folder = CACHE / "go" / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(MODULES / name, folder)
    command = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(binary), program.package]
    environment = {"GOFLAGS": "-mod=mod -buildvcs=false", "CGO_ENABLED": "0", "GOWORK": "off"}
    try:
        subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_BUILD_SECONDS,
        )
    except subprocess.SubprocessError as error:
        said = getattr(error, "stdout", None) or error
        print(f"{name} could not be built; its tests are skipped\n{said}", file=sys.stderr)
        return
    stamp.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
