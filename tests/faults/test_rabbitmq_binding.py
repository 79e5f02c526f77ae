"""RabbitMQ falls silent: those who call the binding do not wait for one another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from harness.backends import Backend
from harness.block_api import make
from harness.message_systems import SLACK
from harness.proxy import Proxy, proxy

from dapr_sidecar.components.bindings.base import Event, InvokeRequest
from dapr_sidecar.components.bindings.rabbitmq import RabbitMqBinding

pytestmark = pytest.mark.slow
_SECONDS = 6.0  # enough to connect, too, on a busy machine


@pytest.fixture
async def line(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    monkeypatch.setattr("dapr_sidecar.components.rabbitmq.publisher._PUBLISH_SECONDS", _SECONDS)
    with Backend("rabbitmq") as server:
        async with proxy(server.port) as found:
            yield found


def binding(line: Proxy, **more: str) -> RabbitMqBinding:
    host = f"amqp://guest:guest@{line.address}"
    found: RabbitMqBinding = make(RabbitMqBinding, host=host, queueName="q", **more)
    return found


def create(data: bytes) -> InvokeRequest:
    return InvokeRequest("create", data, {})


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "connecting"])
async def test_every_call_has_a_deadline_of_its_own(line: Proxy, connected: bool) -> None:
    component = binding(line)
    if connected:
        await component.open()
        await component.invoke(create(b"before"))
    line.hold()
    started = time.monotonic()
    calls = [component.invoke(create(b"held")) for _ in range(20)]
    outcomes = await asyncio.gather(*calls, component.ping(), return_exceptions=True)
    assert time.monotonic() - started < _SECONDS + SLACK
    wanted = f"rabbitmq at {line.address}: no answer within {_SECONDS:g} s"
    assert {str(outcome) for outcome in outcomes} == {wanted}
    line.release()
    await component.invoke(create(b"after"))
    await component.close()


async def test_an_exclusive_queue_is_written_and_read(line: Proxy) -> None:
    component = binding(line, exclusive="true")
    await component.open()
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(event: Event) -> None:
        got.put_nowait(event.data)

    await component.start(take)
    await component.invoke(create(b"mine"))
    assert await asyncio.wait_for(got.get(), 40) == b"mine"
    await component.close()
