"""An Azure Key Vault over its REST interface: which one, and calls that know who we are."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from dapr_sidecar.components.azure.settings import AzureEnvironment, AzureSettings
from dapr_sidecar.components.azure.tokens import TokenError, TokenSource
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.web import WebAnswer, WebError, WebService

_API_VERSION = "api-version=7.4"
_DOMAINS = {
    AzureEnvironment.PUBLIC: "vault.azure.net",
    AzureEnvironment.CHINA: "vault.azure.cn",
    AzureEnvironment.GOVERNMENT: "vault.usgovcloudapi.net",
}
_VAULT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]")
_UNAUTHORIZED = 401
_BUSY = (429, 500, 502, 503, 504)
_ATTEMPTS = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class KeyVaultError(Exception):
    """The vault refused; ``status`` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


# Without slots: a class can then inherit from this one and add fields of its own.
@dataclass(frozen=True, kw_only=True)
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


class KeyVaultClient:
    """``seconds`` bounds the wait for a token, and then a call with its repetitions."""

    def __init__(self, settings: KeyVaultSettings, seconds: float) -> None:
        """Raises ``SettingsError``."""
        url = settings.url()
        self._tokens = TokenSource(settings, "https://" + _DOMAINS[settings.environment])
        self._seconds = seconds
        try:
            self._service = WebService("Azure Key Vault", url, seconds=seconds)
        except ValueError as error:
            raise SettingsError(f"invalid metadata field 'endpoint': '{url}': {error}") from None

    @property
    def shown(self) -> str:
        """What errors call it."""
        return self._service.shown

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The answer's JSON; what the vault is too busy for is asked again.

        ``path`` may have a query. Raises ``KeyVaultError``, ``WebError`` or ``TokenError``.
        """
        headers = {"authorization": f"Bearer {await self._token()}"}
        if "api-version=" not in path:
            path += f"{'&' if '?' in path else '?'}{_API_VERSION}"
        raw = b""
        if body is not None:
            headers["content-type"] = "application/json"
            raw = orjson.dumps(body)
        try:
            async with asyncio.timeout(self._seconds):
                for attempt in range(_ATTEMPTS):
                    answer = await self._service.call(method, path, headers, raw)
                    if answer.status not in _BUSY or attempt == _ATTEMPTS - 1:
                        break
                    await asyncio.sleep(_pause(answer, attempt))
        except TimeoutError as error:
            text = f"{self.shown}: no answer within {self._seconds:g} s"
            raise WebError(text, sent=True) from error
        content = _json(answer.body)
        if answer.status == 200:
            return content
        raise self._refusal(answer.status, content)

    async def close(self) -> None:
        """Cut every connection; safe to call twice."""
        await self._service.close()

    async def _token(self) -> str:
        try:
            async with asyncio.timeout(self._seconds):
                return await self._tokens.get()
        except TimeoutError as error:
            raise TokenError(
                f"no token of Microsoft Entra ID within {self._seconds:g} s: without "
                "'azureClientSecret' or a certificate, the machine has to have an identity"
            ) from error

    def _refusal(self, status: int, content: Mapping[str, Any]) -> KeyVaultError:
        error = content.get("error")
        words = error if isinstance(error, dict) else {}
        reason = ": ".join(str(words[name]) for name in ("code", "message") if words.get(name))
        text = f"{self.shown}: {reason or f'status {status}'}"
        if status == _UNAUTHORIZED:
            text += ": the vault does not take tokens of this directory ('azureTenantId')"
        return KeyVaultError(text, status)


def _pause(answer: WebAnswer, attempt: int) -> float:
    """Seconds until the next attempt: what the service asks for, else a growing time."""
    asked = answer.headers.get("retry-after", "")
    if asked.isdecimal():
        return min(float(asked), _LONGEST_PAUSE)
    return random.uniform(0, _FIRST_PAUSE * 2**attempt)  # noqa: S311


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
