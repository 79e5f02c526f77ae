"""Cryptography providers: they wrap and unwrap file keys and never give a private key away."""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta

from dapr_common.durations import format_go_duration
from dapr_sidecar.components.base import Component
from dapr_sidecar.components.metadata import SettingsError


class CryptoProvider(Component):
    """Required of every provider."""

    @abstractmethod
    async def wrap_key(self, key: bytes, algorithm: str, key_name: str) -> bytes: ...

    @abstractmethod
    async def unwrap_key(self, wrapped: bytes, algorithm: str, key_name: str) -> bytes: ...


def request_seconds(field: str, value: timedelta) -> float:
    """How long a call may take, in seconds. Raises ``SettingsError`` for no time at all."""
    if value <= timedelta(0):
        raise SettingsError(
            f"invalid metadata field '{field}': '{format_go_duration(value)}': "
            "expected a duration above 0, such as 30s"
        )
    return value.total_seconds()
