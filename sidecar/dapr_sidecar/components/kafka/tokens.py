"""Tokens of an OpenID Connect provider, by client credentials."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
from aiokafka.abc import AbstractTokenProvider

from dapr_common.http.proxy import proxy_of
from dapr_sidecar.components.metadata import SettingsError

_SECONDS = 30.0
_EARLY_SECONDS = 30.0
_MAX_BYTES = 1 << 20


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]
    """Keeps a token until shortly before it ends."""

    def __init__(
        self, endpoint: str, client: str, secret: str, scopes: str, extensions: str
    ) -> None:
        """Raises ``SettingsError``: ``oidcExtensions`` is no JSON object of texts."""
        self._endpoint = endpoint
        self._form = {
            "grant_type": "client_credentials",
            "client_id": client,
            "client_secret": secret,
            "scope": " ".join(part.strip() for part in scopes.split(",")),
        }
        self._extensions = _extensions(extensions)
        self._token = ""
        self._until = 0.0
        self._asking = asyncio.Lock()

    async def token(self) -> str:
        """Raises ``ConnectionError`` with what the provider answered."""
        async with self._asking:
            if time.monotonic() >= self._until:
                await self._ask()
            return self._token

    def extensions(self) -> dict[str, str]:
        """What the brokers get with the token."""
        return self._extensions

    async def _ask(self) -> None:
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(
                self._endpoint,
                data=self._form,
                allow_redirects=False,
                proxy=proxy_of(self._endpoint),
            ) as answer,
        ):
            body = await answer.content.read(_MAX_BYTES)
            if answer.status != 200:
                raise ConnectionError(
                    f"the token endpoint of 'oidcTokenEndpoint' answered {answer.status}"
                )
        try:
            found = json.loads(body)
            self._token = str(found["access_token"])
            lifetime = float(found.get("expires_in", 0))
        except (ValueError, KeyError, TypeError) as error:
            raise ConnectionError("the token endpoint answered without a token") from error
        self._until = time.monotonic() + max(lifetime - _EARLY_SECONDS, 0.0)


def _extensions(text: str) -> dict[str, str]:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise SettingsError(
            "invalid metadata field 'oidcExtensions': expected a JSON object of texts"
        )
    return found
