"""What pages and API are made of: the source's facts with what each sidecar says now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from dapr_dashboard import masking
from dapr_dashboard.model import App, Source
from dapr_dashboard.sidecars import Sidecars


@dataclass(frozen=True, slots=True)
class Facts:
    """One way to them for both. Every method raises ``SourceError``."""

    source: Source
    sidecars: Sidecars

    async def apps(self, *, metrics: bool = False) -> list[App]:
        """Every application and its sidecar; with ``metrics`` also the sidecars' samples."""
        return await self.live(await self.source.apps(), metrics=metrics)

    async def live(self, apps: list[App], *, metrics: bool = False) -> list[App]:
        """The same applications with what their sidecars say now."""
        return await self.sidecars.with_live(apps, metrics=metrics)

    async def log(self, app: App, name: str) -> str:
        """The end of a log, without what looks like a secret."""
        text = await self.source.log(app, name)
        return await asyncio.to_thread(masking.text, text)
