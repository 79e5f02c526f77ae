"""``secretstores.azure.keyvault``: the secrets of an Azure Key Vault, over its REST interface."""

from __future__ import annotations

import asyncio
import re
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dapr_sidecar.components.azure.settings import AzureEnvironment, AzureSettings
from dapr_sidecar.components.azure.tokens import TokenError, TokenSource
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.secretstores.base import SecretStore
from dapr_sidecar.components.secretstores.reading import json_object, read_all
from dapr_sidecar.components.web import WebService

_API = "api-version=7.4"
# Below the time that a component has to come up, so that the reason is told.
_SECONDS = 4.0
_PAGE = 25
_DOMAINS = {
    AzureEnvironment.PUBLIC: "vault.azure.net",
    AzureEnvironment.CHINA: "vault.azure.cn",
    AzureEnvironment.GOVERNMENT: "vault.usgovcloudapi.net",
}
_VAULT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]")
_NAME = re.compile(r"[A-Za-z0-9-]{1,127}")
_VERSION = re.compile(r"[A-Za-z0-9]+")
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 401, 403, 404


class KeyVaultError(Exception):
    """The vault refused; ``status`` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyVaultSettings(AzureSettings):
    """Who we are, and which vault is meant."""

    vault_name: str = setting("vaultName", help="name of the vault")
    endpoint: str = setting(
        "endpoint", default="", help="URL of the vault, for emulators and private endpoints"
    )

    def url(self) -> str:
        """Where the vault is. Raises ``SettingsError``."""
        if not _VAULT_NAME.fullmatch(self.vault_name):
            raise SettingsError(
                f"invalid metadata field 'vaultName': '{self.vault_name}': expected the vault's "
                "name, 3 to 24 letters, digits and dashes; not its URL"
            )
        return self.endpoint or f"https://{self.vault_name}.{_DOMAINS[self.environment]}"


class KeyVaultSecretStore(SecretStore):
    """A request may name a version (`version_id`). Secrets that are disabled cannot be read."""

    settings: ClassVar[type[Any]] = KeyVaultSettings

    def __init__(self, settings: KeyVaultSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        url = settings.url()
        self._tokens = TokenSource(settings, "https://" + _DOMAINS[settings.environment])
        try:
            self._service = WebService("Azure Key Vault", url, seconds=_SECONDS)
        except ValueError as error:
            raise SettingsError(f"invalid metadata field 'endpoint': '{url}': {error}") from None

    # --- life -------------------------------------------------------------------------------

    async def open(self) -> None:
        await self.ping()

    async def close(self) -> None:
        await self._service.close()

    async def ping(self) -> None:
        try:
            await self._call(f"/secrets?maxresults=1&{_API}")
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
            bundle = await self._call(f"/secrets/{name}/{version}?{_API}")
        except KeyVaultError as error:
            if error.status == _NOT_FOUND:
                raise LookupError(f"secret {name} not found: {error}") from error
            raise
        value = bundle.get("value")
        if not isinstance(value, str):
            raise KeyVaultError(f"{self._service.shown}: the answer has no value of {name}", _OK)
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
        target = f"/secrets?maxresults={_PAGE}&{_API}"
        while target:
            page = await self._call(target)
            for item in page.get("value") or ():
                yield item
            # Only what the link says within the vault: the token goes nowhere else.
            link = urllib.parse.urlsplit(page.get("nextLink") or "")
            target = f"{link.path}?{link.query}" if link.path else ""

    async def _call(self, target: str) -> dict[str, Any]:
        """Raises ``KeyVaultError``, ``WebError`` or ``TokenError``."""
        headers = {"authorization": f"Bearer {await self._token()}"}
        answer = await self._service.call("GET", target, headers)
        content = json_object(answer.body)
        if answer.status == _OK:
            return content
        error = content.get("error")
        words = error if isinstance(error, dict) else {}
        reason = ": ".join(str(words[key]) for key in ("code", "message") if words.get(key))
        shown = f"{self._service.shown}: {reason or f'status {answer.status}'}"
        if answer.status == _UNAUTHORIZED:
            shown += ": the vault does not take tokens of this directory ('azureTenantId')"
        raise KeyVaultError(shown, answer.status)

    async def _token(self) -> str:
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._tokens.get()
        except TimeoutError as error:
            raise TokenError(
                f"no token of Microsoft Entra ID within {_SECONDS:g} s: without "
                "'azureClientSecret' or a certificate, the machine has to have an identity"
            ) from error
