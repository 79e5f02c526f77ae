"""A process that takes one message and never says that it is done with it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from harness.pluggable import make

from dapr_sidecar.components.pubsub.base import Message

_START_SECONDS = 30.0


@asynccontextmanager
async def stuck_subscriber(
    entry: Mapping[str, Any], properties: Mapping[str, str], topic: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Subscribed once this yields; prints ``got`` and the message."""
    described = json.dumps([entry["type"], entry.get("version", "v1"), properties, topic])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        described,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_START_SECONDS):
            assert await process.stdout.readline() == b"subscribed\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def _main(described: str) -> None:
    type_name, version, properties, topic = json.loads(described)
    component = await make(type_name, version, properties, "stuck")
    await component.open()

    async def never(message: Message) -> None:
        _say(f"got {message.data.decode()}")
        await asyncio.Event().wait()

    await component.subscribe(topic, {}, never)
    _say("subscribed")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
