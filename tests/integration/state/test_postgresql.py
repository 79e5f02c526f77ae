"""What stands in PostgreSQL: other sidecars read and write the same tables."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from harness.backends import Backend, Backends
from harness.block_api import make
from harness.stand_in_entra import stand_in_entra

from dapr_sidecar.components.state.base import EtagError, GetRequest, Json, SetRequest
from dapr_sidecar.components.state.postgresql_v1 import PostgresV1StateStore
from dapr_sidecar.components.state.postgresql_v2 import PostgresV2StateStore
from dapr_sidecar.components.state.query import QueryError

Open = Callable[..., Awaitable[Any]]
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
COLUMNS = """
SELECT column_name, data_type, is_nullable, column_default, is_identity
FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position
"""
TIME = "timestamp with time zone"


@pytest.fixture
def postgres(backends: Backends) -> Backend:
    return backends.shared("postgres")


@pytest.fixture
async def database(postgres: Backend, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """An empty database; yields its connection string."""
    admin = f"host=127.0.0.1 port={postgres.port} user=postgres dbname=postgres"
    connection = await asyncpg.connect(url(admin))
    await connection.execute("DROP DATABASE IF EXISTS layout WITH (FORCE)")
    await connection.execute("CREATE DATABASE layout")
    yield admin.replace("dbname=postgres", "dbname=layout")
    await connection.execute("DROP DATABASE layout WITH (FORCE)")
    await connection.close()


def url(words: str) -> str:
    return "postgresql://?" + words.replace(" ", "&").replace("dbname", "database")


async def rows(database: str, sql: str, *values: object) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url(database))
    try:
        return [tuple(row) for row in await connection.fetch(sql, *values)]
    finally:
        await connection.close()


@pytest.fixture
async def open_store(database: str) -> AsyncIterator[Open]:
    made: list[Any] = []

    async def run(kind: type[Any], **properties: str) -> Any:
        store = make(kind, connectionString=database, **properties)
        made.append(store)
        await store.open()
        return store

    yield run
    for store in made:
        await store.close()


# --- version 1 --------------------------------------------------------------------------------


async def test_v1_tables(database: str, open_store: Open) -> None:
    await open_store(PostgresV1StateStore)
    assert await rows(database, COLUMNS, "state") == [
        ("key", "text", "NO", None, "NO"),
        ("value", "jsonb", "NO", None, "NO"),
        ("isbinary", "boolean", "NO", None, "NO"),
        ("insertdate", TIME, "NO", "now()", "NO"),
        ("updatedate", TIME, "YES", None, "NO"),
        ("expiredate", TIME, "YES", None, "NO"),
        ("row_id", "bigint", "NO", None, "YES"),
    ]
    assert await rows(database, "SELECT * FROM dapr_metadata") == [("migrations", "3")]


async def test_v1_rows(database: str, open_store: Open) -> None:
    store = await open_store(PostgresV1StateStore)
    await store.set(SetRequest("app||b", b"\x00\xff", metadata={"ttlInSeconds": "60"}))
    await store.set(SetRequest("app||j", Json({"b": 1, "a": "<"})))
    sql = (
        "SELECT value::text, isbinary, updatedate IS NULL, extract(epoch from expiredate - now()), "
        "xmin::text FROM state WHERE key = $1"
    )
    ((value, binary, fresh, seconds, _),) = await rows(database, sql, "app||b")
    assert (value, binary, fresh) == ('"AP8="', True, True)
    assert 50 < seconds <= 60
    ((value, binary, fresh, seconds, xmin),) = await rows(database, sql, "app||j")
    assert (value, binary, fresh, seconds) == ('{"a": "<", "b": 1}', False, True, None)
    found = await store.get(GetRequest("app||j"))
    assert (found.data, found.etag) == (b'{"a": "<", "b": 1}', xmin)
    await store.set(SetRequest("app||j", Json(2)))
    assert [row[2] for row in await rows(database, sql, "app||j")] == [False]


async def test_v1_rows_of_others(database: str, open_store: Open) -> None:
    store = await open_store(PostgresV1StateStore)
    insert = (
        "INSERT INTO state (key, value, isbinary, expiredate) "
        "VALUES ($1, $2, $3, $4::text::timestamptz)"
    )
    await rows(database, insert, "live", '"x"', False, "2999-01-01 00:00:00Z")
    await rows(database, insert, "dead", '"x"', False, "2001-01-01 00:00:00Z")
    await rows(database, insert, "bytes", '"AP8="', True, None)
    found = await store.get(GetRequest("live"))
    assert (found.data, found.metadata) == (b'"x"', {"ttlExpireTime": "2999-01-01T00:00:00Z"})
    assert (await store.get(GetRequest("dead"))).data is None
    assert (await store.get(GetRequest("bytes"))).data == b"\x00\xff"
    await store.set(SetRequest("dead", b"new", concurrency="first-write"))
    assert (await store.get(GetRequest("dead"))).data == b"new"


@pytest.mark.parametrize("level", ["1", "2"])
async def test_v1_tables_of_an_older_sidecar(database: str, open_store: Open, level: str) -> None:
    """An earlier level is brought up to today's; what is in the table stays."""
    more = ", expiredate timestamptz" if level == "2" else ""
    for sql in (
        "CREATE TABLE dapr_metadata (key text NOT NULL PRIMARY KEY, value text NOT NULL)",
        f"INSERT INTO dapr_metadata VALUES ('migrations', '{level}')",
        (
            "CREATE TABLE state (key text NOT NULL PRIMARY KEY, value jsonb NOT NULL, "
            "isbinary boolean NOT NULL, insertdate timestamptz NOT NULL DEFAULT now(), "
            f"updatedate timestamptz NULL{more})"
        ),
        "INSERT INTO state (key, value, isbinary) VALUES ('old', '1', false)",
    ):
        await rows(database, sql)
    store = await open_store(PostgresV1StateStore)
    assert (await store.get(GetRequest("old"))).data == b"1"
    assert [row[0] for row in await rows(database, COLUMNS, "state")][-2:] == [
        "expiredate",
        "row_id",
    ]
    assert await rows(database, "SELECT value FROM dapr_metadata") == [("3",)]


# --- version 2 --------------------------------------------------------------------------------


async def test_v2_tables(database: str, open_store: Open) -> None:
    await open_store(PostgresV2StateStore, tablePrefix="my_", metadataTableName="about")
    assert await rows(database, COLUMNS, "my_state") == [
        ("key", "text", "NO", None, "NO"),
        ("value", "bytea", "NO", None, "NO"),
        ("etag", "uuid", "NO", "gen_random_uuid()", "NO"),
        ("created_at", TIME, "NO", "now()", "NO"),
        ("updated_at", TIME, "YES", None, "NO"),
        ("expires_at", TIME, "YES", None, "NO"),
        ("row_id", "bigint", "NO", None, "YES"),
    ]
    assert await rows(database, "SELECT * FROM about") == [("migrations-state-v2-my_", "2")]
    indexes = await rows(database, "SELECT indexdef FROM pg_indexes WHERE tablename = 'my_state'")
    assert any("(expires_at)" in index for (index,) in indexes)


async def test_v2_rows(database: str, open_store: Open) -> None:
    store = await open_store(PostgresV2StateStore)
    await store.set(SetRequest("app||b", b"\x00\xff"))
    await store.set(SetRequest("app||j", Json({"b": 1, "a": "<"})))
    sql = "SELECT value, etag::text, updated_at IS NULL, expires_at FROM state WHERE key = $1"
    ((value, etag, fresh, expires),) = await rows(database, sql, "app||b")
    assert (value, fresh, expires) == (b"\x00\xff", True, None)
    assert UUID.fullmatch(etag)
    ((value, etag, *_),) = await rows(database, sql, "app||j")
    assert value == rb'{"a":"\u003c","b":1}'
    with pytest.raises(EtagError):
        await store.set(SetRequest("app||j", b"", etag="not a uuid"))
    await store.set(SetRequest("app||j", b"", etag=etag))
    ((value, new, fresh, _),) = await rows(database, sql, "app||j")
    assert (value, new != etag, fresh) == (b"", True, False)


# --- both -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PostgresV1StateStore, PostgresV2StateStore])
async def test_ten_sidecars_start_at_once(open_store: Open, kind: type[Any]) -> None:
    stores = await asyncio.gather(*(open_store(kind, maxConns="2") for _ in range(10)))
    await stores[0].set(SetRequest("k", b"1"))
    assert (await stores[9].get(GetRequest("k"))).data == b"1"


@pytest.mark.parametrize(
    ("kind", "column", "key"),
    [
        (PostgresV1StateStore, "expiredate", "last-cleanup"),
        (PostgresV2StateStore, "expires_at", "last-cleanup-state-v2-"),
    ],
)
async def test_expired_rows_are_deleted(
    database: str, open_store: Open, kind: type[Any], column: str, key: str
) -> None:
    store = await open_store(kind, cleanupInterval="100ms")
    await store.bulk_set([SetRequest(name, b"1") for name in ("dead", "live")])
    await rows(database, f"UPDATE state SET {column} = now() - interval '1s' WHERE key = 'dead'")
    async with asyncio.timeout(10):
        while await rows(database, "SELECT key FROM state") != [("live",)]:
            await asyncio.sleep(0.05)
    assert await rows(database, "SELECT count(*) FROM dapr_metadata WHERE key = $1", key) == [(1,)]


async def test_one_of_two_sidecars_cleans_up(database: str, open_store: Open) -> None:
    """What another did a moment ago is not done again."""
    await open_store(PostgresV2StateStore, cleanupInterval="0")
    claim = "INSERT INTO dapr_metadata VALUES ('last-cleanup-state-v2-', now()::text)"
    await rows(database, claim)
    await rows(
        database,
        "INSERT INTO state (key, value, expires_at) VALUES ('dead', '', now() - interval '1s')",
    )
    store = await open_store(PostgresV2StateStore, cleanupInterval="1h")
    await store._pool.run(store._delete_expired)
    assert await rows(database, "SELECT count(*) FROM state") == [(1,)]
    await rows(
        database,
        "UPDATE dapr_metadata SET value = (now() - interval '2h')::text WHERE key LIKE 'last%'",
    )
    await store._pool.run(store._delete_expired)
    assert await rows(database, "SELECT count(*) FROM state") == [(0,)]


async def test_connections_are_bounded(database: str, open_store: Open) -> None:
    store = await open_store(PostgresV2StateStore, maxConns="3")
    await asyncio.gather(*(store.set(SetRequest(f"k{n}", b"1")) for n in range(60)))
    # Without what the server does by itself, and the one that asks.
    sql = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = 'layout' "
        "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    ((count,),) = await rows(database, sql)
    assert 1 <= count <= 3


@pytest.mark.parametrize("mode", ["exec", "simple_protocol", "cache_describe"])
async def test_nothing_prepared_stays_at_the_server(
    database: str, open_store: Open, mode: str
) -> None:
    store = await open_store(PostgresV2StateStore, queryExecMode=mode, maxConns="1")
    for n in range(3):
        await store.set(SetRequest("k", b"%d" % n))
    prepared = await store._pool.run(lambda c: c.fetch("SELECT name FROM pg_prepared_statements"))
    assert [row for row in prepared if row["name"]] == []


# --- queries ----------------------------------------------------------------------------------

PEOPLE = [
    {"name": "ann", "age": 9, "home": {"state": "WA"}},
    {"name": "bob", "age": 10, "home": {"state": "CA"}},
    {"name": "cid", "age": 100, "home": {"state": "CA"}, "tags": ["x"]},
    {"name": "dan", "age": "10", "home": {"state": "NY"}},
]


@pytest.fixture
async def people(open_store: Open) -> Any:
    store = await open_store(PostgresV1StateStore)
    await store.bulk_set([SetRequest(f"app||{p['name']}", Json(p)) for p in PEOPLE])
    await store.set(SetRequest("app||bytes", b'{"age":10}'))
    await store.set(SetRequest("app||gone", Json({"age": 10}), metadata={"ttlInSeconds": "1"}))
    await until_gone(store)
    return store


async def until_gone(store: Any) -> None:
    async with asyncio.timeout(10):
        while (await store.get(GetRequest("app||gone"))).data is not None:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("filter_", "names"),
    [
        ({"EQ": {"age": 10}}, "bob"),
        ({"EQ": {"age": "10"}}, "dan"),
        ({"EQ": {"home.state": "CA"}}, "bob cid"),
        ({"NEQ": {"home.state": "CA"}}, "ann dan"),
        ({"GT": {"age": 9}}, "bob cid"),
        ({"GTE": {"age": 9}}, "ann bob cid"),
        ({"LT": {"age": 10}}, "ann"),
        ({"LTE": {"name": "bob"}}, "ann bob"),
        ({"IN": {"home.state": ["NY", "WA"]}}, "ann dan"),
        ({"AND": [{"EQ": {"home.state": "CA"}}, {"LT": {"age": 50}}]}, "bob"),
        ({"OR": [{"EQ": {"name": "ann"}}, {"EQ": {"name": "dan"}}]}, "ann dan"),
        ({"EQ": {"name": "'; DROP TABLE state; --"}}, ""),
        ({"EQ": {"na'me": "x"}}, ""),
    ],
)
async def test_filters(people: Any, filter_: dict[str, Any], names: str) -> None:
    found = await people.query({"filter": filter_}, {})
    assert [item.key for item in found.items] == [f"app||{name}" for name in names.split()]
    assert found.token == ""
    assert all(item.etag and item.data for item in found.items)


async def test_order_and_pages(people: Any) -> None:
    query = {
        "filter": {"IN": {"home.state": ["CA", "WA"]}},
        "sort": [{"key": "age", "order": "DESC"}],
        "page": {"limit": 2},
    }
    first = await people.query(query, {})
    assert [item.key for item in first.items] == ["app||cid", "app||bob"]
    query["page"] = {"limit": 2, "token": first.token}
    second = await people.query(query, {})
    assert [item.key for item in second.items] == ["app||ann"]
    query["page"] = {"limit": 2, "token": "x; DROP"}
    with pytest.raises(QueryError, match=r"page\.token"):
        await people.query(query, {})


async def test_no_filter_takes_everything(people: Any) -> None:
    found = await people.query({}, {})
    assert len(found.items) == len(PEOPLE) + 1


async def test_a_closed_store_says_so(open_store: Open) -> None:
    store = await open_store(PostgresV2StateStore)
    await store.close()
    with pytest.raises(Exception, match="are closed"):
        await store.get(GetRequest("k"))


# --- tokens as passwords ----------------------------------------------------------------------


async def test_a_token_is_asked_for_as_password_by_a_stand_in_directory(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server here trusts everybody: that the token was sent is not proven.
    with stand_in_entra("stand-in-token") as directory:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", directory.url)
        login = {"azureTenantId": "tenant", "azureClientId": "me", "azureClientSecret": "s"}
        store = make(PostgresV2StateStore, connectionString=database, useAzureAD="true", **login)
        await store.open()
        await store.set(SetRequest("k", b"1"))
        await store.close()
    (asked,) = directory.asked
    assert "scope=https%3A%2F%2Fossrdbms-aad.database.windows.net%2F.default" in asked


async def test_no_token_says_why(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    keys = {"region": "r", "accessKey": "a", "secretKey": "s3cret", "assumeRoleArn": "arn:x"}
    store = make(PostgresV2StateStore, connectionString=database, useAWSIAM="true", **keys)
    with pytest.raises(
        Exception, match=r"the AWS token service at 127\.0\.0\.1:1 cannot be"
    ) as caught:
        await store.open()
    assert "s3cret" not in str(caught.value)
    await store.close()
