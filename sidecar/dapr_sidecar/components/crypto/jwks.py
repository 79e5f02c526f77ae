"""``crypto.dapr.jwks``: the keys of a JSON Web Key Set: in the manifest, in a file or at a URL."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from dapr_common.observe.logs import get_logger
from dapr_common.security.jwks_source import KeySource, KeySourceError, key_source
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.crypto.base import request_seconds
from dapr_sidecar.components.crypto.key_holder import KeyHolder
from dapr_sidecar.components.crypto.keys import Key, KeyUseError, key_of_jwk
from dapr_sidecar.components.metadata import SettingsError, setting

_LOG = get_logger("dapr.contrib.crypto.jwks")
_MAX_AGE_SECONDS = 900.0
"""A key that was taken out of the set at a URL is not used for longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwksCryptoSettings:
    """Settings of ``crypto.dapr.jwks``."""

    jwks: str = setting(
        "jwks",
        secret=True,
        help="the set as JSON or base64, the path of a file with it, or its http(s) URL",
    )
    request_timeout: timedelta = setting(
        "requestTimeout", default=timedelta(seconds=30), help="how long fetching a URL may take"
    )
    min_refresh_interval: timedelta = setting(
        "minRefreshInterval",
        default=timedelta(minutes=10),
        help="how long a URL is left alone after it was fetched, also when a key is not known",
    )


class JwksCrypto(KeyHolder):
    """A key's name is its `kid`. A file counts as soon as it has changed."""

    settings: ClassVar[type[Any]] = JwksCryptoSettings

    def __init__(self, settings: JwksCryptoSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._text = settings.jwks
        self._timeout = request_seconds("requestTimeout", settings.request_timeout)
        self._min_refresh = settings.min_refresh_interval.total_seconds()
        if self._min_refresh < 0:
            raise SettingsError(
                "invalid metadata field 'minRefreshInterval': expected a duration such as 10m"
            )
        self._source: KeySource | None = None
        self._keys: Mapping[str, Mapping[str, Any]] = {}
        self._asked = 0.0
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        try:
            self._source = await asyncio.to_thread(
                key_source, self._text, ca_certificate="", timeout=self._timeout
            )
        except KeySourceError:
            # Without the cause: it quotes the text, which may be a key.
            is_path = self._text.strip().startswith(("/", "."))
            raise SettingsError(
                "invalid metadata field 'jwks': expected a JSON Web Key Set as JSON or base64, "
                "the path of a file or an http(s) URL"
                + (": there is no file of that path" if is_path else "")
            ) from None
        self._asked = asyncio.get_running_loop().time()
        try:
            self._keys = _named(await self._source.read())
        except KeySourceError as error:
            raise SettingsError(f"invalid metadata field 'jwks': {error}") from error

    async def _key(self, name: str) -> Key:
        assert self._source is not None, "open comes first"
        if self._source.remote:
            if name not in self._keys:
                await self._refresh(self._min_refresh)
            elif self._age() >= (longest := max(self._min_refresh, _MAX_AGE_SECONDS)):
                await self._refresh(longest)
        elif await self._source.changed():
            await self._refresh(0.0)
        if (content := self._keys.get(name)) is None:
            raise KeyUseError(f"there is no key '{name}' in the key set")
        return key_of_jwk(content)

    def _age(self) -> float:
        """Seconds since the set was last asked for."""
        return asyncio.get_running_loop().time() - self._asked

    async def _refresh(self, age: float) -> None:
        """Read the set again when it was asked for ``age`` seconds ago; a failure changes nothing.

        Callers at the same moment share one fetch.
        """
        assert self._source is not None
        async with self._lock:
            if self._age() < age:
                return
            before, self._asked = self._asked, asyncio.get_running_loop().time()
            try:
                self._keys = _named(await self._source.read())
            except asyncio.CancelledError:
                self._asked = before  # the caller has gone: the next one asks
                raise
            except KeySourceError as error:
                _LOG.warning(
                    "%s: the keys that were read before stay in use: %s", self._context.name, error
                )


def _named(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The set's keys by their name. Raises ``KeySourceError``."""
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise KeySourceError("expected a JSON object with 'keys', a list of JSON Web Keys")
    found: dict[str, Mapping[str, Any]] = {
        entry["kid"]: entry
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("kid"), str)
    }
    if not found:
        raise KeySourceError("expected a key with a 'kid' in 'keys': that is a key's name")
    return found
