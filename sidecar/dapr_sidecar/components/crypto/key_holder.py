"""Providers that hold their keys themselves, rather than have a service use them."""

from __future__ import annotations

import asyncio
from abc import abstractmethod

from dapr_sidecar.components.crypto.base import CryptoProvider
from dapr_sidecar.components.crypto.keys import Key, unwrap, wrap


class KeyHolder(CryptoProvider):
    """Required: where a key is found; it is used beside the loop."""

    async def wrap_key(self, key: bytes, algorithm: str, key_name: str) -> bytes:
        found = await self._key(key_name)
        return await asyncio.to_thread(wrap, found, algorithm, key)

    async def unwrap_key(self, wrapped: bytes, algorithm: str, key_name: str) -> bytes:
        found = await self._key(key_name)
        return await asyncio.to_thread(unwrap, found, algorithm, wrapped)

    @abstractmethod
    async def _key(self, name: str) -> Key:
        """Raises ``KeyUseError``."""
