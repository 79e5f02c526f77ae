"""A runtime of its own from an unpacked bundle: a virtual environment, without any network."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from dapr_cli.bundle import pip
from dapr_cli.bundle.manifest import (
    FILE,
    PRODUCT,
    WHEELS,
    Manifest,
    read,
    require_this_machine,
    verify,
)
from dapr_cli.console import Console
from dapr_cli.errors import CliError
from dapr_cli.install import Install

_VENV_SECONDS, _PIP_SECONDS = 120, 900
_INSTALLING = "Installing collected packages"


def checked(folder: Path, console: Console) -> Manifest:
    """The manifest of a bundle whose files are all as they were. Raises ``CliError``."""
    manifest = read(folder)
    verify(folder, manifest, console.pending)
    console.success(f"The bundle of version {manifest.version} is whole")
    return manifest


def install_runtime(folder: Path, install: Install, console: Console) -> None:
    """Make ``.dapr/runtime`` from a bundle, unless it is there. Raises ``CliError``."""
    folder = folder.absolute()
    require_this_machine(manifest := read(folder))
    mark = install.runtime / FILE
    if mark.is_file() and mark.read_bytes() == (folder / FILE).read_bytes():
        console.success("runtime is up to date")
        return
    checked(folder, console)
    console.pending(f"Installing version {manifest.version} into {install.runtime}")
    try:
        if install.runtime.exists():
            shutil.rmtree(install.runtime)
        install.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        _environment(install.runtime)
        _packages(folder / WHEELS, manifest, install, console)
        shutil.copyfile(folder / FILE, mark)  # last: a half installation has none
    except OSError as error:
        raise CliError(f"{install.runtime} cannot be written: {error}") from error
    console.success(f"runtime installed: version {manifest.version}")


def _environment(place: Path) -> None:
    words = [sys.executable, "-m", "venv", "--without-pip", str(place)]
    try:
        subprocess.run(  # noqa: S603 - this Python
            words, capture_output=True, text=True, timeout=_VENV_SECONDS, check=True
        )
    except subprocess.CalledProcessError as error:
        raise CliError(
            f"a virtual environment cannot be made: {error.stderr.strip() or error.stdout.strip()}",
            "On Debian and Ubuntu the package python3-venv has what is missing.",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise CliError(f"a virtual environment was not made within {_VENV_SECONDS} s") from error


def _packages(wheels: Path, manifest: Manifest, install: Install, console: Console) -> None:
    """By the bundle's own pip, which sees nothing but the bundle."""
    programs = sorted(wheels.glob("pip-*.whl"))
    if not programs:
        raise CliError(f"{wheels} has no wheel of pip", "Make the bundle again.")
    extras = f"[{manifest.extras}]" if manifest.extras else ""
    words = [
        str(install.runtime_python),
        f"{programs[-1]}/pip",
        "--isolated",
        "install",
        "--no-index",
        "--no-cache-dir",
        "--disable-pip-version-check",
        "--find-links",
        str(wheels),
        f"{PRODUCT}{extras}=={manifest.version}",
    ]

    def heard(line: str) -> None:
        if line.startswith(_INSTALLING):
            console.pending(f"Installing {line.count(',') + 1} packages")

    pip.run(words, seconds=_PIP_SECONDS, heard=heard, environment=pip.without_settings())
