"""``secretstores.hashicorp.vault``: the KV engines of HashiCorp Vault, version 1 and 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.secretstores.base import SecretStore
from dapr_sidecar.components.secretstores.reading import as_text, as_texts, read_all
from dapr_sidecar.components.secretstores.vault_client import VaultClient
from dapr_sidecar.components.secretstores.vault_engine import KvEngine
from dapr_sidecar.components.secretstores.vault_settings import ValueType, VaultSettings


class VaultSecretStore(SecretStore):
    """Which version an engine has is asked when the component is loaded."""

    settings: ClassVar[type[Any]] = VaultSettings

    def __init__(self, settings: VaultSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._mount, self._folder = settings.mount(), settings.folder()
        self._is_text = settings.value_type is ValueType.TEXT
        self._client = VaultClient(settings)
        self._engine = KvEngine(self._mount, 2, self._folder)

    def capabilities(self) -> list[str]:
        return [] if self._is_text else ["MULTIPLE_KEY_VALUES_PER_SECRET"]

    # --- life -------------------------------------------------------------------------------

    async def open(self) -> None:
        self._engine = await self._client.engine(self._mount, self._folder)

    async def close(self) -> None:
        await self._client.close()

    async def ping(self) -> None:
        await self._client.engine(self._mount, self._folder)

    # --- secrets ----------------------------------------------------------------------------

    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        version = metadata.get("version_id", "")
        data = await self._client.read(self._engine.secret(name, version))
        values = None if data is None else self._engine.values(data)
        if values is None:
            shown = f" in version {version}" if version else ""
            raise LookupError(f"secret {name} not found{shown}")
        return {name: as_text(values)} if self._is_text else as_texts(values)

    async def bulk_get(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """All secrets of the folder and those below it."""
        return await read_all(await self._names(), lambda name: self.get(name, {}))

    async def _names(self) -> list[str]:
        found: list[str] = []
        folders = [""]
        while folders:
            folder = folders.pop()
            data = await self._client.read(self._engine.listing(folder))
            for key in (data or {}).get("keys") or ():
                (folders if key.endswith("/") else found).append(folder + key)
        return found
