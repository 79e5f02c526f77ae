"""Secret stores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from dapr_sidecar.components.base import Component


class SecretStore(Component):
    """Required of every secret store. A missing secret is an exception with a clear text."""

    multiple_key_values: ClassVar[bool] = False

    def capabilities(self) -> list[str]:
        """What the metadata API lists."""
        return ["MULTIPLE_KEY_VALUES_PER_SECRET"] if self.multiple_key_values else []

    def spellings(self, name: str) -> frozenset[str]:
        """What stands for all names of one secret, where a store knows it by more than one.

        A policy that denies a secret denies it by every name that has a spelling in common.
        """
        return frozenset((name,))

    @abstractmethod
    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str] | None: ...

    @abstractmethod
    async def bulk_get(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]] | None: ...
