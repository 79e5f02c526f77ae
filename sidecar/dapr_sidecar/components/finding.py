"""Where the class of a manifest comes from: this package, a Python file, or another process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from dapr_common.kube.resources import Component as Manifest
from dapr_sidecar.components.base import Component
from dapr_sidecar.components.registry import (
    MissingLibraryError,
    UnknownComponentError,
    component_class,
)

OPEN_KINDS = ("state", "pubsub", "bindings", "secretstores")
"""Kinds of which users bring components of their own."""

_PYTHON = "python"
_FIRST_VERSIONS = frozenset({"", "v0", "v1"})


class Source(Protocol):
    """Finds one manifest's class."""

    missing: str
    """Why there is none yet; empty when nothing is waited for."""

    async def kind(self, properties: Mapping[str, str]) -> type[Component]:
        """The class; ``properties`` are the resolved metadata. Raises what is wrong."""


class BuiltIn:
    """A class that came with the sidecar."""

    missing = ""

    def __init__(self, found: type[Component]) -> None:
        self._found = found

    async def kind(self, properties: Mapping[str, str]) -> type[Component]:
        return self._found


class ComponentFinder:
    """Knows what this sidecar was allowed to use besides its own."""

    def __init__(
        self,
        *,
        sockets: Path | None = None,
        wait_for_sockets: bool = False,
        python_folders: Sequence[Path] | None = None,
    ) -> None:
        """``sockets`` is the folder of pluggable components' sockets; ``wait_for_sockets``: it was
        named, and may come later. ``python_folders`` are the folders of Python files, ``None``:
        such components are refused.
        """
        self._sockets = sockets
        self._wait_for_sockets = wait_for_sockets
        self._python_folders = python_folders

    def source(self, manifest: Manifest) -> Source:
        """Raises ``UnknownComponentError`` when nobody can bring the type."""
        category, _, name = manifest.type.lower().partition(".")
        open_kind = category in OPEN_KINDS and manifest.version.lower() in _FIRST_VERSIONS
        if open_kind and name == _PYTHON:
            return self._python_file(manifest)
        try:
            return BuiltIn(component_class(manifest.type, manifest.version))
        except MissingLibraryError:
            raise
        except UnknownComponentError as error:
            if open_kind and name and (found := self._pluggable(manifest, str(error))) is not None:
                return found
            raise

    def _python_file(self, manifest: Manifest) -> Source:
        if self._python_folders is None:
            raise UnknownComponentError(
                f"{manifest.type} runs a Python file in the sidecar, which is switched off: start "
                "the sidecar with --enable-python-components"
            )
        from dapr_sidecar.components.python_file.source import PythonFileSource

        return PythonFileSource(self._python_folders, manifest)

    def _pluggable(self, manifest: Manifest, unknown: str) -> Source | None:
        if self._sockets is None:
            return None
        # These need messages that a sidecar without such components does without.
        from dapr_sidecar.components.pluggable.sockets import SocketFolder

        folder = SocketFolder(self._sockets, self._wait_for_sockets)
        if not folder.is_used:
            return None
        from dapr_sidecar.components.pluggable.source import PluggableSource

        return PluggableSource(folder, manifest, unknown)
