"""What every configuration store promises, run against each of them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from typing import cast

import pytest
from harness.component_table import Maker
from harness.configuration_table import ConfigurationTable

from dapr_sidecar.components.configuration.base import ConfigurationStore, Item

KIND = "configuration"
Write = Callable[[str, str | None], None]


def _redis_writer(maker: Maker) -> Write:
    server = maker.services.redis()

    def write(key: str, value: str | None) -> None:
        server.call(*(("DEL", key) if value is None else ("SET", key, value)))

    return write


def _postgresql_writer(maker: Maker) -> Write:
    table = ConfigurationTable(int(maker.variables["port"]), "conformance")
    table.create()

    def write(key: str, value: str | None) -> None:
        text, _, version = (value or "").partition("||")
        table.write(key, None if value is None else text, version)

    return write


WRITERS: dict[str, Callable[[Maker], Write]] = {
    "configuration.postgresql": _postgresql_writer,
    "configuration.redis": _redis_writer,
}
"""How an operator changes a value of each store; versions are written as ``value||version``."""


@pytest.fixture
def write(maker: Maker) -> Write:
    return WRITERS[maker.entry["type"]](maker)


@pytest.fixture
async def store(maker: Maker, write: Write) -> ConfigurationStore:
    return cast(ConfigurationStore, await maker.component())


@pytest.fixture
def key() -> str:
    return f"key-{uuid.uuid4()}"


class Updates:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[Mapping[str, Item]] = asyncio.Queue()

    async def __call__(self, items: Mapping[str, Item]) -> None:
        await self.queue.put(items)

    async def next(self) -> Mapping[str, Item]:
        return await asyncio.wait_for(self.queue.get(), 10)


async def test_get(store: ConfigurationStore, write: Write, key: str) -> None:
    write(key, "value||7")
    write(key + " ü", "plain")
    asked = [key, key + " ü", key + "-none"]
    assert await store.get(asked, {}) == {key: Item("value", "7"), key + " ü": Item("plain")}
    assert await store.get([key + "-none"], {}) == {}
    every = await store.get([], {})
    assert every[key] == Item("value", "7")


async def test_changes(store: ConfigurationStore, write: Write, key: str) -> None:
    updates = Updates()
    write(key, "before")
    found = await store.subscribe([key], {}, updates)
    write(key, "1||2")
    assert await updates.next() == {key: Item("1", "2")}
    write(key + "-other", "x")
    write(key, None)
    assert await updates.next() == {key: Item()}
    await store.unsubscribe(found)
    write(key, "unheard")
    await asyncio.sleep(0.05)
    assert updates.queue.empty()


async def test_changes_of_every_key(store: ConfigurationStore, write: Write, key: str) -> None:
    updates = Updates()
    await store.subscribe([], {}, updates)
    write(key, "1")
    assert await updates.next() == {key: Item("1")}


async def test_subscriptions_are_apart(store: ConfigurationStore, write: Write, key: str) -> None:
    one, two = Updates(), Updates()
    first = await store.subscribe([key], {}, one)
    second = await store.subscribe([key, key + "-2"], {}, two)
    assert first != second
    write(key, "1")
    assert await one.next() == await two.next() == {key: Item("1")}
    await store.unsubscribe(first)
    write(key, "2")
    assert await two.next() == {key: Item("2")}
    assert one.queue.empty()
    with pytest.raises(KeyError):
        await store.unsubscribe(first)


async def test_a_receiver_that_fails_gets_the_next_change(
    store: ConfigurationStore, write: Write, key: str
) -> None:
    updates = Updates()

    async def fail(items: Mapping[str, Item]) -> None:
        await updates(items)
        raise RuntimeError("not now")

    await store.subscribe([key], {}, fail)
    for value in ("1", "2"):
        write(key, value)
        assert await updates.next() == {key: Item(value)}


async def test_a_slow_receiver_sees_the_newest(
    store: ConfigurationStore, write: Write, key: str
) -> None:
    updates, gate = Updates(), asyncio.Event()

    async def slow(items: Mapping[str, Item]) -> None:
        await updates(items)
        await gate.wait()

    await store.subscribe([key], {}, slow)
    write(key, "first")
    await updates.next()
    for n in range(20):
        write(key, str(n))
    gate.set()
    while (await updates.next())[key].value != "19":
        pass


async def test_close_ends_subscriptions(store: ConfigurationStore, write: Write, key: str) -> None:
    updates = Updates()
    await store.subscribe([key], {}, updates)
    await store.ping()
    await store.close()
    await store.close()
    write(key, "1")
    await asyncio.sleep(0.05)
    assert updates.queue.empty()
