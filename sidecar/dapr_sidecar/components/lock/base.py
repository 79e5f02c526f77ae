"""Distributed lock stores."""

from __future__ import annotations

from abc import abstractmethod
from enum import IntEnum

from dapr_sidecar.components.base import Component


class UnlockStatus(IntEnum):
    """The wire's numbers."""

    SUCCESS = 0
    LOCK_DOES_NOT_EXIST = 1
    LOCK_BELONGS_TO_OTHERS = 2
    INTERNAL_ERROR = 3


class LockStore(Component):
    """Required of every lock store."""

    @abstractmethod
    async def try_lock(self, resource_id: str, owner: str, expiry_seconds: int) -> bool: ...

    @abstractmethod
    async def unlock(self, resource_id: str, owner: str) -> UnlockStatus: ...
