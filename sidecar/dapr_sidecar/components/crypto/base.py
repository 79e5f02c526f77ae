"""Cryptography providers: they wrap and unwrap file keys and never give a private key away."""

from __future__ import annotations

from abc import abstractmethod

from dapr_sidecar.components.base import Component


class CryptoProvider(Component):
    """Required of every provider."""

    @abstractmethod
    async def wrap_key(self, key: bytes, algorithm: str, key_name: str) -> bytes: ...

    @abstractmethod
    async def unwrap_key(self, wrapped: bytes, algorithm: str, key_name: str) -> bytes: ...
