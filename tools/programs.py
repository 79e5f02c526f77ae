"""Get the programs that tests and benchmarks start; say which cannot be had. Never fails.

Debian packages are installed when this runs as root or sudo needs no password. Tests that need a
program which is not there are skipped with its name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

# Program → Debian package.
PROGRAMS = {"redis-server": "redis-server", "ps": "procps", "pgrep": "procps"}


def main() -> int:
    """Install what is missing."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if not missing:
        return 0
    command = _apt()
    if command is None:
        print(
            f"not here and not installable without root: {', '.join(missing)}; "
            "tests that need them are skipped",
            file=sys.stderr,
        )
        return 0
    packages = sorted({PROGRAMS[program] for program in missing})
    print(f"Installing {', '.join(packages)} …", flush=True)
    _run([*command, "update", "-qq"])
    _run([*command, "install", "-y", "-qq", "--no-install-recommends", *packages])
    for program in missing:
        if shutil.which(program) is None:
            print(f"{program} could not be installed; its tests are skipped", file=sys.stderr)
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
