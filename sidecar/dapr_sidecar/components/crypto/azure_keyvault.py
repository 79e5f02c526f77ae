"""``crypto.azure.keyvault``: keys that never leave an Azure Key Vault."""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from dapr_sidecar.components.azure.keyvault import KeyVaultClient, KeyVaultError, KeyVaultSettings
from dapr_sidecar.components.azure.tokens import TokenError
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.crypto.base import CryptoProvider, request_seconds
from dapr_sidecar.components.crypto.keys import KeyUseError
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.web import WebError

_BAD_REQUEST, _FORBIDDEN = 400, 403
_PAGE = 25
_MOST_VERSIONS = 10
_NAME = re.compile(r"([A-Za-z0-9-]{1,127})(?:/([A-Za-z0-9]{1,64}))?")
# Dapr's word → the vault's, and whether the vault wraps with it; it encrypts with the others.
_ALGORITHMS = {
    "RSA-OAEP-256": ("RSA-OAEP-256", True),
    "A256KW": ("A256KW", True),
    "A128CBC-NOPAD": ("A128CBC", False),
    "A192CBC-NOPAD": ("A192CBC", False),
    "A256CBC-NOPAD": ("A256CBC", False),
}
# A file key is random and wrapped once: there is no pattern for a nonce to hide.
_NONCE = {"iv": base64.urlsafe_b64encode(bytes(16)).rstrip(b"=").decode()}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyVaultCryptoSettings(KeyVaultSettings):
    """Settings of ``crypto.azure.keyvault``."""

    request_timeout: timedelta = setting(
        "requestTimeout",
        default=timedelta(seconds=30),
        help="how long one call to the vault may take",
    )


class KeyVaultCrypto(CryptoProvider):
    """A key is named `name`, which is its newest version, or `name/version`."""

    settings: ClassVar[type[Any]] = KeyVaultCryptoSettings

    def __init__(self, settings: KeyVaultCryptoSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        seconds = request_seconds("requestTimeout", settings.request_timeout)
        self._vault = KeyVaultClient(settings, seconds)

    async def close(self) -> None:
        await self._vault.close()

    async def ping(self) -> None:
        try:
            await self._vault.call("GET", "/keys?maxresults=1")
        except KeyVaultError as error:
            # It knows who we are; the right to list is not what using a key takes.
            if error.status != _FORBIDDEN:
                raise

    async def wrap_key(self, key: bytes, algorithm: str, key_name: str) -> bytes:
        return await self._ask("wrapkey", "encrypt", key, algorithm, key_name)

    async def unwrap_key(self, wrapped: bytes, algorithm: str, key_name: str) -> bytes:
        """A name without a version may mean an older one: the key was renewed meanwhile."""
        try:
            return await self._unwrap(wrapped, algorithm, key_name)
        except KeyUseError as error:
            if not _may_be_older(error, key_name):
                raise
            for version in await self._older_versions(key_name):
                with contextlib.suppress(KeyUseError):
                    return await self._unwrap(wrapped, algorithm, f"{key_name}/{version}")
            raise

    async def _unwrap(self, wrapped: bytes, algorithm: str, key_name: str) -> bytes:
        return await self._ask("unwrapkey", "decrypt", wrapped, algorithm, key_name)

    async def _older_versions(self, name: str) -> list[str]:
        """Versions that can be used, newest first without the newest; of very many keys some."""
        try:
            page = await self._vault.call("GET", f"/keys/{name}/versions?maxresults={_PAGE}")
        except (KeyVaultError, WebError, TokenError):
            return []  # listing takes a right that unwrapping does not
        created: dict[str, float] = {}
        for item in page.get("value") or ():
            attributes = item.get("attributes") or {}
            if attributes.get("enabled", True):
                created[str(item["kid"]).rpartition("/")[2]] = attributes.get("created", 0)
        return sorted(created, key=lambda version: created[version], reverse=True)[1:_MOST_VERSIONS]

    async def _ask(
        self, wrapping: str, ciphering: str, data: bytes, algorithm: str, key_name: str
    ) -> bytes:
        """One operation with a key. Raises ``KeyUseError``."""
        if algorithm not in _ALGORITHMS:
            raise KeyUseError(f"algorithm '{algorithm}' is not supported")
        word, wraps = _ALGORITHMS[algorithm]
        request = {"alg": word, "value": _text(data), **({} if wraps else _NONCE)}
        path = f"{_key_path(key_name)}/{wrapping if wraps else ciphering}"
        try:
            return _value(await self._vault.call("POST", path, request))
        except (KeyVaultError, WebError, TokenError) as error:
            raise KeyUseError(f"key '{key_name}': {error}") from error


def _may_be_older(error: KeyUseError, name: str) -> bool:
    """Whether the vault has the key and could not unwrap with it."""
    cause = error.__cause__
    return "/" not in name and isinstance(cause, KeyVaultError) and cause.status == _BAD_REQUEST


def _key_path(name: str) -> str:
    """The path of a key; the service takes an empty version for the newest one."""
    if (found := _NAME.fullmatch(name)) is None:
        raise KeyUseError(
            f"invalid key name '{name}': expected name or name/version, "
            "of letters, digits and dashes"
        )
    return f"/keys/{found[1]}/{found[2] or ''}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _value(answer: Mapping[str, Any]) -> bytes:
    text = answer.get("value")
    if not isinstance(text, str) or not text:
        raise KeyUseError("Azure Key Vault gave an answer without a value")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
