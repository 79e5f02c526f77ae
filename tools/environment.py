"""Make the virtual environment the Makefile uses; only the standard library is needed.

``python3 tools/environment.py .venv all`` installs the product,
``python3 tools/environment.py .venv all,test,dev`` also what tests and checks need.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAMPS = {"all": (".product",), "all,test,dev": (".product", ".everything")}
_NEEDED = (3, 11)
_NO_VENV = """\
This Python cannot make virtual environments: the module 'ensurepip' is missing.
On Debian and Ubuntu it is in a package of its own; install it and try again:

    sudo apt-get install python3-venv
"""


def main() -> int:
    """Create the environment named on the command line and install into it."""
    venv, extras = Path(sys.argv[1]), sys.argv[2]
    if sys.version_info < _NEEDED:
        print(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.", file=sys.stderr)
        return 1
    started = time.monotonic()
    python = venv / "bin" / "python"
    if not (venv / "bin" / "pip").exists():  # pip comes last: without it, one was left half made
        print(f"Creating {venv} …", flush=True)
        if not _has_ensurepip() and not _get_venv_package():
            print(_NO_VENV, file=sys.stderr)
            return 1
        if subprocess.run([sys.executable, "-m", "venv", str(venv)], check=False).returncode:
            print(f"\n{venv} could not be made; the lines above say why.", file=sys.stderr)
            return 1
    print(f"Installing dapr-runtime[{extras}] …", flush=True)
    done = subprocess.run(_install(venv, python, extras), cwd=ROOT, check=False)
    if done.returncode:
        print("\nThe packages could not be installed; the lines above say why.", file=sys.stderr)
        return 1
    for stamp in STAMPS[extras]:
        (venv / stamp).touch()
    print(f"Ready in {time.monotonic() - started:.0f} s.", flush=True)
    return 0


def _install(venv: Path, python: Path, extras: str) -> list[str]:
    wanted = ["-q", "-c", "constraints.txt", "-e", f".[{extras}]"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--python", str(python), *wanted]
    return [str(python), "-m", "pip", "install", "--disable-pip-version-check", *wanted]


def _get_venv_package() -> bool:
    """Debian keeps ``ensurepip`` apart; as root it is one command away."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    print("Installing the system package python3-venv …", flush=True)
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "python3-venv"],
    ):
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    importlib.invalidate_caches()
    return _has_ensurepip()


def _has_ensurepip() -> bool:
    """Whether the module is there; what a removed package leaves behind is an empty folder."""
    found = importlib.util.find_spec("ensurepip")
    return found is not None and found.origin is not None


if __name__ == "__main__":
    sys.exit(main())
