"""What stands in Redis and in SQLite files: other sidecars read and write it, too."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from harness.block_api import make
from harness.component_table import Services, until
from harness.redis_server import RedisServer

from dapr_sidecar.components.state.base import EtagError, GetRequest, Json, SetRequest
from dapr_sidecar.components.state.redis import RedisStateStore
from dapr_sidecar.components.state.sqlite import SqliteStateStore

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
VALUES: list[tuple[object, str, str]] = [
    ("text", '"text"', '"text"'),
    ("<&>", '"<&>"', r'"\u003c\u0026\u003e"'),
    ("\u2028", '"\u2028"', r'"\u2028"'),
    ({"b": 1, "a": [True, None]}, '{"b":1,"a":[true,null]}', '{"a":[true,null],"b":1}'),
    (5.0, "5", "5"),
    (1234567.12345678, "1234567.123457", "1234567.12345678"),
    (123456789.12345678, "123456789.12345678", "123456789.12345678"),
    (0.00001, "0.00001", "0.00001"),
    (0.000001, "0.000001", "0.000001"),
    (1e-7, "0", "1e-7"),
    (1e20, "100000000000000000000", "100000000000000000000"),
    (1.5e22, "1.5e+22", "1.5e+22"),
]


# --- Redis ------------------------------------------------------------------------------------


@pytest.fixture
def server(services: Services) -> RedisServer:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    found = services.redis()
    found.call("FLUSHALL")
    return found


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[RedisStateStore]:
    found: RedisStateStore = make(RedisStateStore, redisHost=server.address)
    await found.open()
    yield found
    await found.close()


def fields(server: RedisServer, key: str) -> dict[str, str]:
    lines = server.call("HGETALL", key).split("\n")
    return dict(zip(lines[::2], lines[1::2], strict=True))


async def test_redis_records(redis: RedisStateStore, server: RedisServer) -> None:
    await redis.set(SetRequest("app||k", b"bytes"))
    assert fields(server, "app||k") == {"data": "bytes", "version": "1"}
    await redis.set(SetRequest("app||k", b"more", etag="1"))
    assert fields(server, "app||k") == {"data": "more", "version": "2"}
    assert server.call("TTL", "app||k") == "-1"
    await redis.set(SetRequest("app||f", b"x", concurrency="first-write"))
    assert fields(server, "app||f") == {"data": "x", "version": "1", "first-write": "0"}


async def test_redis_expiry(redis: RedisStateStore, server: RedisServer) -> None:
    await redis.set(SetRequest("k", b"1", metadata={"ttlInSeconds": "100"}))
    assert 95 <= int(server.call("TTL", "k")) <= 100
    await redis.set(SetRequest("k", b"2"))
    assert 95 <= int(server.call("TTL", "k")) <= 100
    await redis.set(SetRequest("k", b"3", metadata={"ttlInSeconds": "0"}))
    assert server.call("TTL", "k") == "-1"


async def test_redis_default_expiry(server: RedisServer) -> None:
    store = make(RedisStateStore, redisHost=server.address, ttlInSeconds="50")
    await store.open()
    await store.set(SetRequest("k", b"1"))
    assert 45 <= int(server.call("TTL", "k")) <= 50
    await store.transact([SetRequest("t", b"1", concurrency="first-write")], {})
    assert 45 <= int(server.call("TTL", "t")) <= 50
    assert "first-write" not in fields(server, "t")  # not honoured in transactions
    await store.close()


@pytest.mark.parametrize(("value", "text", "_"), VALUES)
async def test_redis_values(
    redis: RedisStateStore, server: RedisServer, value: object, text: str, _: str
) -> None:
    await redis.set(SetRequest("k", Json(value)))
    assert fields(server, "k")["data"] == text


async def test_redis_records_of_others(redis: RedisStateStore, server: RedisServer) -> None:
    server.call("HSET", "k", "data", '"theirs"', "version", "7", "first-write", "0")
    found = await redis.get(GetRequest("k"))
    assert (found.data, found.etag) == (b'"theirs"', "7")
    with pytest.raises(Exception, match="failed to set key k"):
        await redis.set(SetRequest("k", b"no"))
    with pytest.raises(EtagError):
        await redis.set(SetRequest("k", b"no", etag="6"))
    await redis.set(SetRequest("k", b"yes", etag="7"))
    assert fields(server, "k")["version"] == "8"


async def test_redis_strings_of_old(redis: RedisStateStore, server: RedisServer) -> None:
    server.call("SET", "k", "plain")
    found = await redis.get(GetRequest("k"))
    assert (found.data, found.etag) == (b"plain", None)
    await redis.set(SetRequest("k", b"new"))
    assert fields(server, "k") == {"data": "new", "version": "1"}


async def test_redis_hashes_that_are_no_records(
    redis: RedisStateStore, server: RedisServer
) -> None:
    server.call("HSET", "k", "other", "1")
    with pytest.raises(Exception, match="required hash field 'data' or 'version' was not found"):
        await redis.get(GetRequest("k"))


# --- SQLite -----------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def sqlite(file: Path) -> AsyncIterator[SqliteStateStore]:
    found: SqliteStateStore = make(SqliteStateStore, connectionString=str(file))
    await found.open()
    yield found
    await found.close()


def rows(file: Path, sql: str, *values: object) -> list[Any]:
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


async def test_sqlite_tables(sqlite: SqliteStateStore, file: Path) -> None:
    columns = [row[1:] for row in rows(file, "PRAGMA table_info(state)")]
    assert columns == [
        ("key", "TEXT", 1, None, 1),
        ("value", "TEXT", 1, None, 0),
        ("is_binary", "BOOLEAN", 1, None, 0),
        ("etag", "TEXT", 1, None, 0),
        ("expiration_time", "TIMESTAMP", 0, "NULL", 0),
        ("update_time", "TIMESTAMP", 1, "CURRENT_TIMESTAMP", 0),
    ]
    assert rows(file, "SELECT * FROM metadata WHERE key = 'migrations'") == [("migrations", "1")]
    assert rows(file, "PRAGMA journal_mode") == [("wal",)]


async def test_sqlite_rows(sqlite: SqliteStateStore, file: Path) -> None:
    await sqlite.set(SetRequest("app||b", b"\x00\xff", metadata={"ttlInSeconds": "60"}))
    await sqlite.set(SetRequest("app||j", Json({"b": 1, "a": 2})))
    sql = "SELECT value, is_binary, etag, expiration_time, update_time FROM state WHERE key = ?"
    ((value, binary, etag, expires, updated),) = rows(file, sql, "app||b")
    assert (value, binary) == ("AP8=", 1)
    assert UUID.fullmatch(etag)
    stamp = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
    assert stamp.fullmatch(expires)
    assert stamp.fullmatch(updated)
    ((value, binary, _, expires, _),) = rows(file, sql, "app||j")
    assert (value, binary, expires) == ('{"a":2,"b":1}', 0, None)
    found = await sqlite.get(GetRequest("app||b"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found.metadata["ttlExpireTime"])


@pytest.mark.parametrize(("value", "_", "text"), VALUES)
async def test_sqlite_values(
    sqlite: SqliteStateStore, file: Path, value: object, _: str, text: str
) -> None:
    await sqlite.set(SetRequest("k", Json(value)))
    assert rows(file, "SELECT value FROM state WHERE key = 'k'") == [(text,)]


async def test_sqlite_rows_of_others(sqlite: SqliteStateStore, file: Path) -> None:
    insert = "INSERT INTO state (key, value, is_binary, etag, expiration_time) VALUES (?,?,?,?,?)"
    rows(file, insert, "live", '"x"', 0, "e1", "2999-01-01 00:00:00")
    rows(file, insert, "dead", '"x"', 0, "e2", "2001-01-01 00:00:00")
    rows(file, insert, "bytes", "AP8=", True, "e3", None)
    found = await sqlite.get(GetRequest("live"))
    assert (found.data, found.etag) == (b'"x"', "e1")
    assert found.metadata == {"ttlExpireTime": "2999-01-01T00:00:00Z"}
    assert (await sqlite.get(GetRequest("dead"))).data is None
    assert (await sqlite.get(GetRequest("bytes"))).data == b"\x00\xff"


async def test_sqlite_names_and_clean_up(file: Path) -> None:
    store = make(
        SqliteStateStore,
        url=f"file:{file}",
        tableName="mine",
        metadataTableName="about",
        cleanupInterval="50ms",
        disableWAL="true",
    )
    await store.open()
    await store.set(SetRequest("k", b"1"))
    rows(file, "UPDATE mine SET expiration_time = '2001-01-01 00:00:00'")
    await until(lambda: rows(file, "SELECT count(*) FROM mine") == [(0,)])
    assert rows(file, "SELECT value FROM about WHERE key = 'migrations'") == [("1",)]
    assert rows(file, "PRAGMA journal_mode") != [("wal",)]
    await store.close()
