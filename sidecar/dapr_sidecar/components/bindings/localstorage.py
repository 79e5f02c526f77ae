"""``bindings.localstorage``: files below one directory."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import orjson

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import InvokeRequest, InvokeResponse, OutputBinding
from dapr_sidecar.components.bindings.folders import (
    below,
    forbidden_folder,
    in_thread,
    made_folder,
    replace_file,
)
from dapr_sidecar.components.bindings.objects import unquoted
from dapr_sidecar.components.metadata import setting

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStorageSettings:
    """Settings of ``bindings.localstorage``."""

    root: str = setting("rootPath", help="directory; created when it does not exist")


class LocalStorageBinding(OutputBinding):
    """``create``, ``get``, ``list`` and ``delete``; nothing outside the root can be named."""

    settings: ClassVar[type[Any]] = LocalStorageSettings
    operations = ("create", "get", "list", "delete")

    def __init__(self, settings: LocalStorageSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._given = settings.root
        self._root = Path(settings.root)

    async def open(self) -> None:
        self._root = await in_thread(lambda: made_folder(self._given, "rootPath"))

    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None:
        name = request.metadata.get("fileName", "")
        operation = request.operation
        if operation == "create":
            return await self._create(name or str(uuid.uuid4()), request.data)
        if operation == "list":
            return await self._list(name)
        if not name:
            raise ValueError("required metadata not set: fileName")
        if operation == "get":
            return InvokeResponse(await self._on(name, _read))
        if operation == "delete":
            await self._on(name, _delete)
            return None
        raise ValueError(f"invalid operation type: {operation}")

    async def _create(self, name: str, data: bytes) -> InvokeResponse:
        content = unquoted(data)
        await self._on(name, lambda path: replace_file(path, content))
        return InvokeResponse(orjson.dumps({"fileName": name}))

    async def _list(self, name: str) -> InvokeResponse:
        found = await self._on(name, _walk, listing=True)
        # Nothing is ``null``, as Go writes an empty list.
        return InvokeResponse(orjson.dumps(found or None))

    async def _on(self, name: str, work: Callable[[Path], T], *, listing: bool = False) -> T:
        """Do file work off the loop. Raises ``OSError`` worded for the caller."""
        root = self._root

        def locked_in() -> T:
            path = below(root, root / name.lstrip("/"))
            if path is None or (path == root and not listing):
                raise PermissionError(f"invalid fileName '{name}': it is outside the root path")
            return work(path)

        try:
            return await in_thread(locked_in)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"file not found: {name}") from error


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise IsADirectoryError(f"{path.name} is a directory")
    return path.read_bytes()


def _delete(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink()


def _walk(path: Path) -> list[str]:
    """Every file below, by name; a file is a list of itself."""
    if not path.exists():
        raise FileNotFoundError(path)
    if path.is_file():
        return [str(path)]
    found: list[str] = []
    for folder, folders, names in os.walk(path):
        place = Path(folder)
        folders[:] = [name for name in folders if forbidden_folder(place / name) is None]
        found += [str(place / name) for name in names if not name.startswith(".new-")]
    return sorted(found)
