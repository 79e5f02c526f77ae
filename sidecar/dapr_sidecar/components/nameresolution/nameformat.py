"""The ``nameformat`` resolver: addresses are made from a pattern."""

from __future__ import annotations

from dataclasses import dataclass

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.nameresolution.base import Resolver

_PLACE = "{appid}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NameFormatSettings:
    """Settings of the resolver."""

    format: str = setting("format", help="address with {appid} in it, port included")


class NameFormatResolver(Resolver):
    """Replaces ``{appid}`` in the format."""

    settings = NameFormatSettings

    def __init__(self, settings: NameFormatSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._format = settings.format

    async def open(self) -> None:
        """Check the format."""
        if _PLACE not in self._format:
            raise ValueError(f"invalid 'format': it must contain {_PLACE}, got '{self._format}'")

    async def resolve(self, app_id: str, namespace: str, port: int) -> str:
        return self._format.replace(_PLACE, app_id)
