"""The install directory: where it is, what lies where, which ``daprd`` is used."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dapr_cli.errors import CliError
from dapr_common.paths import home_expanded

_VERSION_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Install:
    """The official layout under one ``.dapr`` directory."""

    root: Path

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    @property
    def daprd(self) -> Path:
        return self.bin / "daprd"

    @property
    def placement(self) -> Path:
        return self.bin / "placement"

    @property
    def sentry(self) -> Path:
        return self.bin / "sentry"

    @property
    def runtime(self) -> Path:
        """A virtual environment with the runtime, after ``dapr init --from-dir``."""
        return self.root / "runtime"

    @property
    def runtime_python(self) -> Path:
        return self.runtime / "bin" / "python"

    @property
    def python(self) -> str:
        """What runs the programs in ``bin``."""
        own = self.runtime_python
        return str(own) if own.exists() else sys.executable

    @property
    def certs(self) -> Path:
        """Sentry's certificate authority."""
        return self.root / "certs"

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def components(self) -> Path:
        return self.root / "components"

    @property
    def data(self) -> Path:
        """Databases of the embedded components."""
        return self.root / "data"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets.json"


def locate(runtime_path: str, environment: Mapping[str, str] = os.environ) -> Install:
    """``--runtime-path``, else ``DAPR_RUNTIME_PATH``, else the home directory; then ``.dapr``."""
    base = runtime_path or environment.get("DAPR_RUNTIME_PATH", "")
    parent = home_expanded(base) if base else Path.home()
    return Install(parent.absolute() / ".dapr")


def find_daprd(install: Install) -> Path:
    """The installed ``daprd``, else the one beside this Python. Raises ``CliError``."""
    for candidate in (install.daprd, Path(sys.executable).with_name("daprd")):
        if candidate.exists():
            return candidate
    raise CliError(f"daprd was not found in {install.bin}", "Run 'dapr init' first.")


def ask_daprd(install: Install, flag: str) -> str:
    """What ``daprd --version`` or ``--build-info`` prints; ``n/a`` when there is none."""
    try:
        done = subprocess.run(  # noqa: S603 - the installed daprd
            [str(find_daprd(install)), flag],
            capture_output=True,
            text=True,
            timeout=_VERSION_SECONDS,
            check=True,
        )
    except (CliError, OSError, subprocess.SubprocessError):
        return "n/a"
    return done.stdout.strip()
