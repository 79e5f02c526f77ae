"""``secretstores.azure.keyvault``: the secrets of an Azure Key Vault, over its REST interface."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

from dapr_sidecar.components.azure.keyvault import KeyVaultClient, KeyVaultError, KeyVaultSettings
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.secretstores.base import SecretStore
from dapr_sidecar.components.secretstores.reading import read_all

# Below the time that a component has to come up, so that the reason is told.
_SECONDS = 4.0
_PAGE = 25
_NAME = re.compile(r"[A-Za-z0-9-]{1,127}")
_VERSION = re.compile(r"[A-Za-z0-9]+")
_OK, _FORBIDDEN, _NOT_FOUND = 200, 403, 404


class KeyVaultSecretStore(SecretStore):
    """A request may name a version (`version_id`). Secrets that are disabled cannot be read."""

    settings: ClassVar[type[Any]] = KeyVaultSettings

    def __init__(self, settings: KeyVaultSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._vault = KeyVaultClient(settings, _SECONDS)

    # --- life -------------------------------------------------------------------------------

    async def open(self) -> None:
        await self.ping()

    async def close(self) -> None:
        await self._vault.close()

    async def ping(self) -> None:
        try:
            await self._vault.call("GET", "/secrets?maxresults=1")
        except KeyVaultError as error:
            # It knows who we are; the right to list is not what reading a secret takes.
            if error.status != _FORBIDDEN:
                raise

    # --- secrets ----------------------------------------------------------------------------

    def spellings(self, name: str) -> frozenset[str]:
        return frozenset((name.lower(),))  # a vault's names ignore case

    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        version = metadata.get("version_id", "")
        if not _NAME.fullmatch(name):
            raise LookupError(
                f"secret {name} not found: names are letters, digits and dashes, 127 at most"
            )
        if version and not _VERSION.fullmatch(version):
            raise LookupError(f"secret {name} not found in version {version}: that is no version")
        try:
            bundle = await self._vault.call("GET", f"/secrets/{name}/{version}")
        except KeyVaultError as error:
            if error.status == _NOT_FOUND:
                raise LookupError(f"secret {name} not found: {error}") from error
            raise
        value = bundle.get("value")
        if not isinstance(value, str):
            raise KeyVaultError(f"{self._vault.shown}: the answer has no value of {name}", _OK)
        return {name: value}

    async def bulk_get(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """Every secret that is enabled."""
        names = [
            urllib.parse.urlsplit(item["id"]).path.split("/")[2]
            async for item in self._items()
            if item.get("attributes", {}).get("enabled", True)
        ]
        return await read_all(names, lambda name: self.get(name, {}))

    async def _items(self) -> AsyncIterator[dict[str, Any]]:
        target = f"/secrets?maxresults={_PAGE}"
        while target:
            page = await self._vault.call("GET", target)
            for item in page.get("value") or ():
                yield item
            # Only what the link says within the vault: the token goes nowhere else.
            link = urllib.parse.urlsplit(page.get("nextLink") or "")
            target = f"{link.path}?{link.query}" if link.path else ""
