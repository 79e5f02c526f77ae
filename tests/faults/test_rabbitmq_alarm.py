"""RabbitMQ is short of memory: it takes nothing more from those who publish."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from harness.backends import Backend
from harness.message_systems import RABBITMQ, Inbox

from dapr_sidecar.components.pubsub.base import PublishRequest

pytestmark = pytest.mark.slow
_CONTROL = Path("/usr/lib/rabbitmq/bin/rabbitmqctl")


@pytest.fixture
async def server() -> AsyncIterator[Backend]:
    async with Backend("rabbitmq") as found:
        if not _CONTROL.exists():
            pytest.skip(f"{_CONTROL} is not there")
        yield found


async def control(server: Backend, *words: str) -> None:
    """One command to the server, as its own environment leads to it."""
    for process in server._servers():
        pairs = Path(f"/proc/{process}/environ").read_text().split("\0")
        environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        if "RABBITMQ_NODENAME" in environment:
            command = [str(_CONTROL), *words]
            await asyncio.to_thread(
                subprocess.run,
                command,
                env=environment,
                check=True,
                capture_output=True,
                timeout=60,
            )
            return
    raise LookupError("no process of RabbitMQ")


async def test_consumers_drain_the_queue_while_publishers_are_held_up(
    server: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in RABBITMQ.patches().items():
        monkeypatch.setattr(name, value)
    component = RABBITMQ.component(server.port, prefetchCount="5")
    await component.open()
    inbox = Inbox(seconds=0.05)
    await (await component.subscribe("t", {}, inbox)).close()
    sent = {b"%d" % n for n in range(200)}
    for data in sent:
        await component.publish(PublishRequest("t", data, {}))
    await control(server, "set_vm_memory_high_watermark", "absolute", "1MB")
    with pytest.raises(Exception, match=f"127.0.0.1:{server.port}: no answer within 4 s"):
        await component.publish(PublishRequest("t", b"held up", {}))
    monkeypatch.undo()  # what is taken again may take its time
    subscription = await component.subscribe("t", {}, inbox)
    await inbox.has(sent)
    await control(server, "set_vm_memory_high_watermark", "absolute", "1GB")
    await component.publish(PublishRequest("t", b"after", {}))
    await inbox.has({b"after"})
    await subscription.close()
    await component.close()
