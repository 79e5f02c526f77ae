"""From a manifest to the class in the file it names."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from dapr_common.kube.resources import Component as Manifest
from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import Component
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.python_file.checking import check
from dapr_sidecar.components.python_file.errors import PythonFileError, line_of, shown
from dapr_sidecar.components.python_file.kinds import KINDS, Kind
from dapr_sidecar.components.python_file.places import placed

_LOG = get_logger("dapr.runtime.python")
_MODULES = "dapr_python_components."
_LARGEST_FILE = 4 << 20


class PythonFileSource:
    """``folders`` are those that files may come from. The file is read anew for every load."""

    missing = ""

    def __init__(self, folders: Sequence[Path], manifest: Manifest) -> None:
        self._folders = folders
        self._manifest = manifest

    async def kind(self, properties: Mapping[str, str]) -> type[Component]:
        """Raises ``SettingsError`` for what the manifest lacks, or ``PythonFileError``."""
        kind = KINDS[self._manifest.category]
        path = find(self._folders, properties.get("file", "").strip())
        module = read_module(path, _MODULES + f"{self._manifest.category}.{self._manifest.name}")
        name = properties.get("class", "").strip() or only_class(module, kind, path)
        found = check(_attribute(module, name, kind, path), name, kind, path)
        _LOG.info("component %s is class %s of %s", self._manifest.log_name, name, path)
        return placed(found, kind, path)


def find(folders: Sequence[Path], file: str) -> Path:
    """The file, inside one of the folders. Raises ``SettingsError``."""
    if not file:
        raise SettingsError("missing required metadata field 'file': a Python file")
    if not file.endswith(".py"):
        raise SettingsError(f"invalid metadata field 'file': '{file}': expected a name with .py")
    listed = ", ".join(map(str, folders)) or "none"
    outside = False
    for folder in folders:
        path = folder / file
        inside = path.resolve().is_relative_to(folder.resolve())
        if inside and path.is_file():
            return path
        outside = outside or (not inside and path.exists())
    reason = "it is outside the folders" if outside else "there is no such file in the folders"
    raise SettingsError(
        f"invalid metadata field 'file': '{file}': {reason} that components may come from: {listed}"
    )


def read_module(path: Path, name: str) -> ModuleType:
    """Run the file as a module of this name. Raises ``PythonFileError``.

    Without the import system: no cached bytecode that is taken for the file after a quick edit, and
    nothing written beside the file.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise PythonFileError(path, f"it is larger than {_LARGEST_FILE >> 20} MiB")
        source = path.read_bytes()
    except OSError as error:
        raise PythonFileError(path, f"it cannot be read: {error.strerror}") from error
    module = ModuleType(name)
    module.__file__ = str(path)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses and type hints look there
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - that is what the flag allows
    except (Exception, SystemExit) as error:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise PythonFileError(path, shown(error), line=line_of(error, path)) from error
    return module


def only_class(module: ModuleType, kind: Kind, path: Path) -> str:
    """The name of the file's one class of the kind. Raises ``PythonFileError``."""
    names = _classes(module, kind)
    if len(names) == 1:
        return names[0]
    if not names:
        text = f"it has no {kind.words}: expected a subclass of {kind.expected}"
        raise PythonFileError(path, text)
    raise PythonFileError(
        path,
        f"it has several classes: name one of {', '.join(names)} in the metadata field 'class'",
    )


def _attribute(module: ModuleType, name: str, kind: Kind, path: Path) -> object:
    try:
        return vars(module)[name]
    except KeyError:
        has = ", ".join(_classes(module, kind)) or "none"
        text = f"it has no class '{name}'; its classes that are a {kind.words}: {has}"
        raise PythonFileError(path, text) from None


def _classes(module: ModuleType, kind: Kind) -> list[str]:
    return [
        name
        for name, found in vars(module).items()
        if isinstance(found, type)
        and kind.admits(found)
        and found.__module__ == module.__name__
        and not name.startswith("_")
    ]
