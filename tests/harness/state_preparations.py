"""What has to be there before a state store can use its system, as its user would make it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from harness import dynamodb_calls
from harness.component_table import Maker


def _dynamodb(maker: Maker) -> None:
    dynamodb_calls.create_table(maker.variables["backend"], "conformance")


_PREPARATIONS: dict[str, Callable[[Maker], None]] = {
    "state.aws.dynamodb": _dynamodb,
}


async def prepare(maker: Maker) -> None:
    """Make a table or the like; harmless when it is there."""
    if (work := _PREPARATIONS.get(maker.entry["type"])) is not None:
        await asyncio.to_thread(work, maker)
