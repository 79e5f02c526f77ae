"""The ``.dapr`` directory: whether it is whole, and of this CLI."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from dapr_cli import launcher
from dapr_cli.bundle.manifest import FILE, PRODUCT
from dapr_cli.check.findings import Finding
from dapr_cli.daprd_command import wants_mtls
from dapr_cli.errors import CliError
from dapr_cli.install import Install

_AREA = "installation"
_INIT = "Run 'dapr init'."


def check_installation(install: Install) -> Iterator[Finding]:
    """What ``dapr init`` wrote and is not there any more, or not as this CLI writes it."""
    if not install.root.is_dir():
        yield Finding("error", _AREA, str(install.root), "does not exist", _INIT)
        return
    python = install.python
    yield from _program(install.daprd, "dapr_sidecar", python)
    yield from _program(install.placement, "dapr_placement", python)
    if is_mtls(install):
        yield from _program(install.sentry, "dapr_sentry", python, "Run 'dapr init --mtls'.")
    yield from _runtime(install)
    if not install.config.is_file():
        text = "is missing: apps run without a configuration"
        yield Finding("warning", _AREA, str(install.config), text, _INIT)
    if not install.components.is_dir():
        text = "is missing: 'dapr run' needs it unless --resources-path is given"
        yield Finding("error", _AREA, str(install.components), text, _INIT)
    for path in (install.data, install.components):
        if path.is_dir() and not os.access(path, os.W_OK):
            fix = f"Give it back to yourself: sudo chown -R $(id -un) {path}"
            yield Finding("error", _AREA, str(path), "cannot be written by you", fix)


def _runtime(install: Install) -> Iterator[Finding]:
    """What ``dapr init --from-dir`` installed."""
    if not install.runtime.exists():
        return
    fix = "Run 'dapr init --from-dir DIR' with a bundle; or remove it and run 'dapr init'."
    try:
        version = json.loads((install.runtime / FILE).read_text())["version"]
    except (OSError, ValueError, KeyError, TypeError):
        text = "is half an installation: the last 'dapr init --from-dir' was not finished"
        yield Finding("error", _AREA, str(install.runtime), text, fix)
        return
    if version != metadata.version(PRODUCT):
        text = f"is stale: it is of version {version}, this CLI is of {metadata.version(PRODUCT)}"
        yield Finding("warning", _AREA, str(install.runtime), text, fix)


def is_mtls(install: Install) -> bool:
    """Whether apps are to speak mutual TLS; not when the configuration cannot be read."""
    try:
        return install.config.is_file() and wants_mtls(install.config)
    except CliError:
        return False  # the resource files' check says why


def _program(file: Path, package: str, ours: str, init: str = _INIT) -> Iterator[Finding]:
    if not file.exists():
        yield Finding("error", _AREA, str(file), "is missing", init)
    elif not launcher.is_ours(file, package):
        fix = "Run 'dapr uninstall', then 'dapr init'."
        yield Finding("error", _AREA, str(file), "is a program of another installation", fix)
    elif (python := launcher.python_of(file)) and not Path(python).exists():
        text = f"is stale: it starts {python}, which is gone"
        yield Finding("error", _AREA, str(file), text, init)
    elif not os.access(file, os.X_OK):
        yield Finding("error", _AREA, str(file), "is not executable", f"chmod +x {file}")
    elif file.read_text() != launcher.text(ours, package):
        text = (
            "is stale: another installation of this CLI wrote it, which may be of another version"
        )
        yield Finding("warning", _AREA, str(file), text, init)
