"""Who we are to Azure Service Bus, without a connection string."""

from __future__ import annotations

import time
from typing import Any, Self

from azure.core.credentials import AccessToken

from dapr_sidecar.components.azure.tokens import TokenSource

_TOKEN_SECONDS = 300


class Identity:
    """Tokens of ours in the form that the client library wants."""

    def __init__(self, tokens: TokenSource) -> None:
        self._tokens = tokens

    async def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        """One that is good for a few minutes."""
        return AccessToken(await self._tokens.get(), int(time.time()) + _TOKEN_SECONDS)

    async def close(self) -> None:
        """There is nothing to close."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """There is nothing to close."""
