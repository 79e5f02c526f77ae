"""Several placement servers that agree by one lock who of them leads."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from contextlib import AsyncExitStack
from typing import Any, Self

from harness.placement_process import Placement


class PlacementGroup:
    """Servers with a lock in etcd; any of them may be killed."""

    def __init__(self, etcd: str, count: int = 3) -> None:
        self._lock = f"--leader-lock=etcd://{etcd}/placement-{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)
        self.servers = [self.server() for _ in range(count)]

    def server(self, **more: Any) -> Placement:
        """One more, which is not started yet."""
        return Placement(f"--id=p{next(self._numbers)}", self._lock, exit_code=None, **more)

    @property
    def addresses(self) -> str:
        """What a sidecar is told: all of them."""
        return ",".join(server.address for server in self.servers)

    async def leader(self, seconds: float = 40.0) -> Placement:
        """Wait until one of them leads."""
        async with asyncio.timeout(seconds):
            while True:
                for server in self.servers:
                    if await asyncio.to_thread(leads, server):
                        return server
                await asyncio.sleep(0.05)

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        await asyncio.gather(*map(self._stack.enter_async_context, self.servers))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


def leads(server: Placement) -> bool:
    """Whether it says so; one that is gone does not."""
    try:
        return server.get("/placement/state").status == 200
    except OSError:
        return False
