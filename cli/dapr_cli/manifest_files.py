"""Which files of a directory are manifests."""

from __future__ import annotations

from pathlib import Path

_SUFFIXES = (".yaml", ".yml")


def manifest_files(directory: Path) -> list[Path]:
    """What a sidecar would read of a directory, in its order. Raises ``OSError``."""
    entries = sorted(directory.iterdir())
    return [entry for entry in entries if entry.suffix.lower() in _SUFFIXES and entry.is_file()]
