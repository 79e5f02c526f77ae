"""The programs in ``bin``: they start the sidecar and services installed with this CLI.

The kernel calls a script after its file, so the process is named ``daprd``, as tools expect.
"""

from __future__ import annotations

import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

from dapr_cli.errors import CliError

_WHAT = {
    "dapr_sidecar": "the Dapr sidecar",
    "dapr_placement": "the Dapr placement service",
    "dapr_sentry": "the Dapr certificate authority",
}
_INSTALLED = "that was installed with the 'dapr' command."
_LONGEST_SHEBANG = 127  # what every kernel reads of the first line


def text(python: str = sys.executable, package: str = "dapr_sidecar") -> str:
    """The launcher's content for a Python interpreter."""
    body = (
        f'"""{_mark(package)}"""\nimport sys\n\n'
        f"from {package}.__main__ import main\n\nsys.exit(main())\n"
    )
    if len(python) + 2 <= _LONGEST_SHEBANG and not any(c.isspace() for c in python):
        return f"#!{python}\n{body}"
    # Both a shell script that runs Python on itself and a Python file with a string in front.
    return f"#!/bin/sh\n'''exec' {shlex.quote(python)} \"$0\" \"$@\"\n' '''\n{body}"


def _mark(package: str) -> str:
    return f"Starts {_WHAT[package]} {_INSTALLED}"


def write(file: Path, package: str = "dapr_sidecar", python: str = sys.executable) -> bool:
    """Write the launcher unless it is there already; whether something changed.

    Raises ``CliError`` when another program is in its place or there is none to start.
    """
    if python == sys.executable and find_spec(package) is None:
        raise CliError(f"this installation is not whole: the package {package} is missing")
    wanted = text(python, package)
    if file.exists() or file.is_symlink():
        if not is_ours(file, package):
            raise CliError(
                f"{file} is another program", "'dapr uninstall' removes it; then init again."
            )
        if file.read_text() == wanted and os.access(file, os.X_OK):
            return False
        file.unlink()
    file.write_text(wanted)
    file.chmod(0o755)
    return True


def python_of(file: Path) -> str:
    """The interpreter that a launcher starts; empty when it cannot be told."""
    try:
        first, second = [*file.read_text().splitlines(), "", ""][:2]
    except (OSError, ValueError):
        return ""
    if first != "#!/bin/sh":
        return first.removeprefix("#!")
    words = shlex.split(second) if second.startswith("'''exec'") else []
    return words[1] if len(words) > 1 else ""


def is_ours(file: Path, package: str = "dapr_sidecar") -> bool:
    """Whether the file is a launcher written here."""
    try:
        with file.open("rb") as content:
            return _mark(package).encode() in content.read(2000)
    except OSError:
        return False
