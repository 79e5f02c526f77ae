"""Mosquitto writes its sessions down when it is ended: what it took comes after a restart."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from harness.backends import Backends
from harness.component_table import until
from harness.message_systems import MQTT, Publisher
from harness.programs import Program, accepts_connections, free_port

from dapr_sidecar.components.pubsub.base import Message

pytestmark = pytest.mark.slow


class Mosquitto(Program):
    """One that keeps what it has in a folder. Killed, it loses what came since it last wrote."""

    def __init__(self, program: str, folder: Path) -> None:
        self.port = free_port()
        settings = folder / "mosquitto.conf"
        settings.write_text(
            f"user root\nallow_anonymous true\nlistener {self.port} 127.0.0.1\n"
            f"persistence true\npersistence_location {folder}/\n"
        )
        super().__init__([program, "-c", str(settings)], name="mosquitto", exit_code=None)

    def is_ready(self) -> bool:
        return accepts_connections(self.port)

    async def restart(self, away_seconds: float) -> None:
        """As an upgrade does it."""
        self.signal(signal.SIGTERM)
        await asyncio.to_thread(self.wait_exit)
        await asyncio.sleep(away_seconds)
        self.start()
        await asyncio.to_thread(self.wait_ready)


@pytest.fixture
async def broker(backends: Backends, tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with Mosquitto(backends.program("mosquitto"), tmp_path) as found:
        yield found


async def test_nothing_is_lost_when_it_is_restarted(broker: Mosquitto) -> None:
    """More is with the broker than it gives out at once when it ends."""
    component, got, gate = MQTT.component(broker.port), set[bytes](), asyncio.Event()
    await component.open()

    async def take(message: Message) -> None:
        await gate.wait()
        got.add(message.data)

    subscription = await component.subscribe("t", {}, take)
    publisher = Publisher(component, "t")
    await publisher.more(60)
    await broker.restart(away_seconds=1.0)
    gate.set()
    await publisher.more(30)
    await publisher.stop()
    await until(lambda: set(publisher.taken) <= got, 60)
    await subscription.close()
    await component.close()
