"""SQLite has no room left: an error that says so, nothing acknowledged lost, and on it goes."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness.block_api import make
from harness.component_table import until

from dapr_sidecar.components.pubsub.base import BulkPublishEntry, Message, PublishRequest
from dapr_sidecar.components.pubsub.sqlite import SqlitePubSub
from dapr_sidecar.components.sqlite.connection import DatabaseError
from dapr_sidecar.components.state.base import DeleteRequest, GetRequest, SetRequest
from dapr_sidecar.components.state.sqlite import SqliteStateStore

FULL = "database or disk is full: free some space, nothing was written"
BLOCK = 20_000


@dataclass
class Disk:
    """A small place for a database; ``limit`` makes it small, ``free`` makes room again."""

    file: Path
    limit: Callable[[Any], Any]
    free: Callable[[Any], Any]


def set_pages(count: int) -> Callable[[Any], Any]:
    async def apply(component: Any) -> None:
        await component._database.run(lambda db: db.execute(f"PRAGMA max_page_count={count}"))

    return apply


@pytest.fixture(params=["small file system", "page limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "page limit":
        yield Disk(tmp_path / "data.db", set_pages(200), set_pages(100_000))
        return
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mount is not permitted")
    ballast = place / "ballast"
    ballast.write_bytes(b"x" * 800_000)

    async def nothing(component: Any) -> None: ...

    async def free(component: Any) -> None:
        ballast.unlink()

    try:
        yield Disk(place / "data.db", nothing, free)
    finally:
        subprocess.run(["umount", str(place)], check=True)


def is_sound(file: Path) -> bool:
    connection = sqlite3.connect(file)
    try:
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))
    finally:
        connection.close()


async def test_state(disk: Disk) -> None:
    store = make(SqliteStateStore, connectionString=str(disk.file))
    await store.open()
    await disk.limit(store)
    saved: dict[str, bytes] = {}

    async def fill() -> None:
        for n in itertools.count():
            value = b"%08d" % n * (BLOCK // 8)
            await store.set(SetRequest(f"k{n}", value))
            saved[f"k{n}"] = value

    with pytest.raises(DatabaseError, match=FULL):
        await fill()
    assert len(saved) > 3
    with pytest.raises(DatabaseError, match=FULL):
        await store.transact(
            [DeleteRequest("k0"), *(SetRequest(f"t{n}", b"x" * BLOCK) for n in range(100))], {}
        )
    for key, value in saved.items():  # the transaction that found no room changed nothing
        assert (await store.get(GetRequest(key))).data == value
    assert (await store.get(GetRequest("t0"))).data is None
    await disk.free(store)
    await store.set(SetRequest("later", b"x" * BLOCK))
    await store.close()
    again = make(SqliteStateStore, connectionString=str(disk.file))
    await again.open()
    for key, value in saved.items():
        assert (await again.get(GetRequest(key))).data == value
    assert (await again.get(GetRequest("later"))).data == b"x" * BLOCK
    await again.close()
    assert is_sound(disk.file)


async def test_pubsub(disk: Disk) -> None:
    broker = make(SqlitePubSub, connectionString=str(disk.file), consumerID="g", leaseDuration="1s")
    await broker.open()
    got: list[bytes] = []

    async def take(message: Message) -> None:
        got.append(message.data[:8])

    await (await broker.subscribe("t", {}, take)).close()
    await disk.limit(broker)
    sent: list[bytes] = []

    async def fill() -> None:
        for n in itertools.count():
            data = b"%08d" % n
            await broker.publish(PublishRequest("t", data * (BLOCK // 8), {}))
            sent.append(data)

    with pytest.raises(DatabaseError, match=FULL):
        await fill()
    assert len(sent) > 3
    entries = [BulkPublishEntry(str(n), b"x" * BLOCK, "", {}) for n in range(100)]
    failed = await broker.bulk_publish("t", entries, {})
    assert set(failed) == {entry.entry_id for entry in entries}
    subscription = await broker.subscribe("t", {}, take)  # there may be no room to lease even
    await asyncio.sleep(0.2)
    await disk.free(broker)
    await broker.publish(PublishRequest("t", b"afterall" * (BLOCK // 8), {}))
    await until(lambda: set(got) == {*sent, b"afterall"})
    await subscription.close()
    await broker.close()
    assert is_sound(disk.file)
