"""What the official SDKs need, built once and kept between test runs.

Each SDK lives in an environment of its own: its pins are not ours. ``DAPR_TEST_CACHE`` says where.
"""

from __future__ import annotations

import faulthandler
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

_BUILD_SECONDS = 600
_UNREACHABLE = (
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "Network is unreachable",
    "Connection refused",
    "Connection timed out",
    "dns error",
    "timed out",
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ETIMEDOUT",
    "no such host",
    "i/o timeout",
    "connection refused",
)


def python_environment(requirements: Path) -> Path:
    """The Python of an environment with these requirements."""
    key = _key([requirements], sys.version)

    def build(folder: Path) -> None:
        if uv := shutil.which("uv"):
            _run(uv, "venv", "-q", "--python", sys.executable, str(folder), index="PyPI")
            install = [uv, "pip", "install", "-q", "--python", str(folder / "bin" / "python")]
        else:
            _run(sys.executable, "-m", "venv", str(folder), index="PyPI")
            install = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q"]
        _run(*install, "-r", str(requirements), index="PyPI")

    return _cached(f"python-{key}", build) / "bin" / "python"


def node_modules(manifest: Path) -> Path:
    """A folder with the packages that a ``package.json`` names."""
    npm = _need("npm")

    def build(folder: Path) -> None:
        folder.mkdir()
        shutil.copy(manifest, folder)
        quiet = ("--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--silent")
        _run(npm, "install", *quiet, index="the npm registry", cwd=folder)

    return _cached(f"node-{_key([manifest])}", build) / "node_modules"


def go_program(source: Path) -> Path:
    """The program of a Go module's root package, compiled."""
    go = _need("go")
    version = subprocess.run([go, "version"], capture_output=True, text=True, check=True).stdout
    key = _key(sorted([*source.glob("*.go"), *source.glob("go.*")]), version)

    def build(folder: Path) -> None:
        command = (go, "build", "-trimpath", "-o", str(folder / "program"), ".")
        _run(*command, index="the Go module proxy", cwd=source, env={"CGO_ENABLED": "0"})

    return _cached(f"go-{key}", build) / "program"


def _need(program: str) -> str:
    if found := shutil.which(program):
        return found
    pytest.skip(f"{program} is not installed")


def _key(files: Iterable[Path], *more: str) -> str:
    digest = hashlib.sha256("\0".join(more).encode())
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _cached(name: str, build: Callable[[Path], None]) -> Path:
    root = Path(os.environ.get("DAPR_TEST_CACHE") or _user_cache() / "dapr-runtime-tests")
    root.mkdir(parents=True, exist_ok=True)
    folder, done = root / name, root / f"{name}.done"
    if not done.exists():
        # This may take minutes: the watch over tests that block must not end the run.
        faulthandler.cancel_dump_traceback_later()
    with _only_one(root / f"{name}.lock"):
        if not (done.exists() and folder.exists()):
            shutil.rmtree(folder, ignore_errors=True)
            build(folder)
            done.touch()
    return folder


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Other test workers wait here while one builds."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(
    *command: str, index: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    if done.returncode == 0:
        return
    output = (done.stdout + done.stderr).strip()
    if any(sign in output for sign in _UNREACHABLE):
        pytest.skip(f"{index} cannot be reached: {output.splitlines()[-1]}")
    pytest.fail(f"{' '.join(command)} failed:\n{output[-4000:]}", pytrace=False)
