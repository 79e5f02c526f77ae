"""``crypto.dapr.localstorage``: keys in the files of one folder, for development."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.crypto.key_holder import KeyHolder
from dapr_sidecar.components.crypto.keys import Key, KeyUseError, parse_key
from dapr_sidecar.components.metadata import SettingsError, setting

_LARGEST_FILE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStorageCryptoSettings:
    """Settings of ``crypto.dapr.localstorage``."""

    path: str = setting("path", help="folder; a key's name is its file's, PEM or JSON Web Key")


class LocalStorageCrypto(KeyHolder):
    """A key is read whenever it is used: a changed file counts at once."""

    settings: ClassVar[type[Any]] = LocalStorageCryptoSettings

    def __init__(self, settings: LocalStorageCryptoSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._folder = Path(settings.path)

    async def open(self) -> None:
        await self.ping()

    async def ping(self) -> None:
        if not await asyncio.to_thread(self._folder.is_dir):
            raise SettingsError(
                f"invalid metadata field 'path': '{self._folder}': expected a folder"
            )

    async def _key(self, name: str) -> Key:
        return await asyncio.to_thread(self._load, name)

    def _load(self, name: str) -> Key:
        folder = self._folder.resolve()
        path = (folder / name).resolve()
        if not name or ".." in Path(name).parts or folder not in path.parents:
            raise KeyUseError(f"invalid key name '{name}': expected a file of the folder")
        try:
            with path.open("rb") as file:
                return parse_key(file.read(_LARGEST_FILE))
        except OSError as error:
            raise KeyUseError(f"key '{name}' cannot be read: {error.strerror}") from error
