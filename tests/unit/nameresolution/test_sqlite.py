from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import decode_settings
from dapr_sidecar.components.nameresolution.base import Instance
from dapr_sidecar.components.nameresolution.nameformat import (
    NameFormatResolver,
    NameFormatSettings,
)
from dapr_sidecar.components.nameresolution.sqlite import SqliteResolver, SqliteResolverSettings

CONTEXT = ComponentContext("nr", "me")


def resolver(path: Path, **more: str) -> SqliteResolver:
    given = {"connectionString": str(path), **more}
    return SqliteResolver(decode_settings(SqliteResolverSettings, given), CONTEXT)


def instance(app_id: str, port: int, host: str = "10.0.0.1") -> Instance:
    return Instance(app_id, "", host, 3500, port, 0)


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[SqliteResolver]:
    made = resolver(tmp_path / "nr.db")
    await made.open()
    yield made
    await made.close()


def rows(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db, db:
        found = db.execute(sql).fetchall()
    db.close()
    return found


async def test_registration_lookup_and_withdrawal(tmp_path: Path, opened: SqliteResolver) -> None:
    path = tmp_path / "nr.db"
    second = resolver(path)
    await second.open()
    await second.register(instance("app", 50002, "fd00::1"))
    assert await opened.resolve("app", "any", 1) == "[fd00::1]:50002"
    [(address, app_id, namespace)] = rows(path, "SELECT address, app_id, namespace FROM hosts")
    assert (address, app_id, namespace) == ("[fd00::1]:50002", "app", "")
    assert rows(path, "SELECT key, value FROM metadata") == [("nr-migrations", "1")]
    await second.close()
    assert rows(path, "SELECT * FROM hosts") == []
    opened.forget("app", "", "")
    with pytest.raises(LookupError, match="no host found with the given ID"):
        await opened.resolve("app", "", 1)


async def test_tables_are_those_other_sidecars_know(tmp_path: Path, opened: SqliteResolver) -> None:
    path = tmp_path / "nr.db"
    found = dict(rows(path, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    assert found.pop("metadata").startswith("CREATE TABLE metadata (key TEXT NOT NULL PRIMARY KEY")
    assert found == {
        "hosts": "CREATE TABLE hosts (registration_id TEXT NOT NULL PRIMARY KEY, "
        "address TEXT NOT NULL, app_id TEXT NOT NULL, namespace TEXT NOT NULL, "
        "last_update INTEGER NOT NULL)",
        "hosts_address_idx": "CREATE UNIQUE INDEX hosts_address_idx ON hosts (address)",
        "hosts_last_update_idx": "CREATE INDEX hosts_last_update_idx ON hosts (last_update)",
    }
    again = resolver(path)  # finds them and leaves them alone
    await again.open()
    await again.close()


async def test_all_instances_are_used(tmp_path: Path, opened: SqliteResolver) -> None:
    others = [resolver(tmp_path / "nr.db") for _ in range(2)]
    for port, other in enumerate(others, 1):
        await other.open()
        await other.register(instance("app", port))
    found = {await opened.resolve("app", "", 0) for _ in range(64)}
    assert found == {"10.0.0.1:1", "10.0.0.1:2"}
    for other in others:
        await other.close()


async def test_old_registrations_do_not_count(tmp_path: Path, opened: SqliteResolver) -> None:
    with closing(sqlite3.connect(tmp_path / "nr.db")) as db, db:
        db.execute("INSERT INTO hosts VALUES ('x', 'a:1', 'app', '', strftime('%s') - 6)")
    db.close()
    with pytest.raises(LookupError):
        await opened.resolve("app", "", 0)
    await opened._database.run(opened._clean)
    assert rows(tmp_path / "nr.db", "SELECT * FROM hosts") == []


async def test_one_sidecar_cleans_for_all(tmp_path: Path, opened: SqliteResolver) -> None:
    path = tmp_path / "nr.db"
    stamp = "SELECT value, strftime('%s', 'now') - strftime('%s', value) FROM metadata "
    stamp += "WHERE key = 'nr-last-cleanup'"
    old = "INSERT INTO hosts VALUES ('x', 'a:1', 'app', '', 0)"

    async def change(sql: str) -> None:
        await opened._database.run(lambda db: db.execute(sql))

    await change(old)
    await opened._database.run(opened._clean)
    [(_, age)] = rows(path, stamp)
    assert 0 <= age < 60
    await change(old)
    await opened._database.run(opened._clean)
    assert len(rows(path, "SELECT * FROM hosts")) == 1  # done less than an hour ago
    for written in ("2020-01-01 00:00:00", "1600000000"):
        await change(f"UPDATE metadata SET value = '{written}' WHERE key = 'nr-last-cleanup'")
        await opened._database.run(opened._clean)
        assert rows(path, "SELECT * FROM hosts") == []
        assert rows(path, stamp)[0][0] != written
        await change(old)


async def test_registration_is_renewed_and_restored(tmp_path: Path) -> None:
    path = tmp_path / "nr.db"
    made = resolver(path, updateInterval="5s", timeout="4s")
    await made.open()
    await made.register(instance("app", 1))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM hosts")
    db.close()
    async with asyncio.timeout(30):
        while not rows(path, "SELECT * FROM hosts"):
            await asyncio.sleep(0.05)
    await made.close()


async def test_a_failed_renewal_is_soon_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "nr.db"
    made = resolver(path, updateInterval="9s", timeout="4s", busyTimeout="100ms")
    await made.open()
    await made.register(instance("app", 1))
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    async with asyncio.timeout(40):
        while not any("could not be renewed" in text for text in caplog.messages):
            await asyncio.sleep(0.02)
        blocker.execute("DELETE FROM hosts")
        blocker.execute("COMMIT")
        blocker.close()
        started = asyncio.get_running_loop().time()
        while not rows(path, "SELECT * FROM hosts"):
            await asyncio.sleep(0.02)
    assert asyncio.get_running_loop().time() - started < 4  # and not after the regular 5 s
    await made.close()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("tableName", "a; drop", "plain identifier"),
        ("updateInterval", "1500ms", "whole number"),
        ("updateInterval", "1s", "at least 1s more"),
    ],
)
async def test_settings_are_checked(tmp_path: Path, name: str, value: str, text: str) -> None:
    made = resolver(tmp_path / "x.db", **{name: value})
    with pytest.raises(ValueError, match=text):
        await made.open()
    await made.close()


async def test_nameformat() -> None:
    made = NameFormatResolver(NameFormatSettings(format="{appid}-dapr.x:50002"), CONTEXT)
    await made.open()
    assert await made.resolve("orders", "ns", 0) == "orders-dapr.x:50002"
    with pytest.raises(ValueError, match="must contain"):
        await NameFormatResolver(NameFormatSettings(format="x"), CONTEXT).open()
