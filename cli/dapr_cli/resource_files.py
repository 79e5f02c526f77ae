"""Objects of one kind in directories of resource files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dapr_cli.daprd_command import read_yaml
from dapr_cli.errors import CliError
from dapr_cli.manifest_files import manifest_files


def objects(kind: str, directories: Iterable[Path]) -> list[dict[str, Any]]:
    """Those that have a name, in the order of their files. Raises ``CliError``."""
    found = []
    for directory in directories:
        for file in _files(directory):
            bodies = (body for body in read_yaml(file) if body.get("kind") == kind)
            found += [_named(dict(body), file) for body in bodies]
    return found


def _files(directory: Path) -> list[Path]:
    try:
        return manifest_files(directory)
    except OSError as error:
        raise CliError(f"{directory} cannot be read: {error.strerror}") from error


def _named(body: dict[str, Any], file: Path) -> dict[str, Any]:
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        raise CliError(f"{file}: a {body['kind']} has no metadata.name")
    return body
