"""``configuration.postgresql`` on a real server: versions, channels, losses, and the app's view."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
from harness.backends import Backend, Backends
from harness.block_api import make
from harness.component_table import until
from harness.configuration_table import ConfigurationTable
from harness.http_call import acall
from harness.local_app import LocalApp
from harness.proxy import proxy
from harness.sidecar import Sidecar, component

from dapr_sidecar.components.configuration.base import Item
from dapr_sidecar.components.configuration.postgresql import PostgresConfigurationStore
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.postgresql import listening
from dapr_sidecar.components.postgresql.pool import PostgresError

Open = Callable[..., Awaitable[PostgresConfigurationStore]]
NOTHING = 0.3  # seconds in which an update would have come


class Updates:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[Mapping[str, Item]] = asyncio.Queue()

    async def __call__(self, items: Mapping[str, Item]) -> None:
        await self.queue.put(items)

    async def next(self) -> Mapping[str, Item]:
        return await asyncio.wait_for(self.queue.get(), 45)

    async def none(self) -> None:
        await asyncio.sleep(NOTHING)
        assert self.queue.empty()


@pytest.fixture
def server(backends: Backends) -> Backend:
    return backends.shared("postgres")


@pytest.fixture
def table(server: Backend) -> ConfigurationTable:
    """A table of the test's own, and a channel of the same name."""
    found = ConfigurationTable(server.port, f"config_{uuid.uuid4().hex[:12]}")
    found.create()
    return found


def words(port: int) -> str:
    return f"host=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=disable"


@pytest.fixture
async def open_store(server: Backend) -> AsyncIterator[Open]:
    made: list[PostgresConfigurationStore] = []

    async def run(table: str, port: int = 0, **more: str) -> PostgresConfigurationStore:
        properties = {"connectionString": words(port or server.port), "table": table, **more}
        store: PostgresConfigurationStore = make(PostgresConfigurationStore, **properties)
        made.append(store)
        await store.open()
        return store

    yield run
    for store in made:
        await store.close()


# --- reading ------------------------------------------------------------------------------------


async def test_the_highest_version_of_each_key(table: ConfigurationTable, open_store: Open) -> None:
    for value, version in (("nine", "9"), ("ten", "10"), ("one", "1")):
        table.add("numbers", value, version)
    for value, version in (("old", "v1"), ("new", "v2")):
        table.add("words", value, version)
    table.add("both", "a word", "latest")
    table.add("both", "a number", "1")
    store = await open_store(table.name)
    expected = {
        "numbers": Item("ten", "10"),
        "words": Item("new", "v2"),
        "both": Item("a number", "1"),
    }
    assert await store.get([], {}) == expected
    assert await store.get(["numbers", "none"], {}) == {"numbers": Item("ten", "10")}


async def test_metadata_of_a_row(table: ConfigurationTable, open_store: Open) -> None:
    table.add("object", "v", "1", '{"text": "ü", "number": 5, "list": [1, "x"]}')
    table.add("list", "v", "1", "[1]")
    table.add("none", "v", "1")
    found = await (await open_store(table.name)).get([], {})
    assert found["object"].metadata == {"text": "ü", "number": "5", "list": '[1,"x"]'}
    assert found["list"].metadata == found["none"].metadata == {}


async def test_columns_of_other_types_and_a_schema(server: Backend, open_store: Open) -> None:
    schema = f"s_{uuid.uuid4().hex[:12]}"
    made = ConfigurationTable(server.port, f"{schema}.config")
    columns = "key TEXT, value INT, version INT, metadata JSONB"
    made.run(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.config ({columns})")
    made.run(f"INSERT INTO {schema}.config VALUES ('k', 7, 9, '{{}}'), ('k', 8, 10, NULL);")
    store = await open_store(made.name)
    assert await store.get(["k"], {}) == {"k": Item("8", "10")}


# --- manifests ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        ({"table": ""}, ("missing required metadata field 'table'",)),
        ({"table": "a; DROP TABLE b"}, ("'table'", "expected letters")),
        ({"table": "no_such_table"}, ("'table'", "key, value, version and metadata")),
        ({"table": "pg_class"}, ("'table'", "key, value, version and metadata")),
        ({"connectionString": ""}, ("'connectionString'", "expected 'host=")),
        ({"connectionString": "host"}, ("'connectionString'", "key=value")),
        ({"notifyChannel": "c" * 64}, ("'notifyChannel'", "up to 63 bytes")),
        ({"maxConns": "many"}, ("'maxConns'", "expected a whole number")),
        ({"timeout": "soon"}, ("'timeout'", "soon")),
        ({"queryExecMode": "fast"}, ("'queryExecMode'", "expected one of")),
    ],
)
async def test_manifests_that_are_wrong(
    open_store: Open, changes: dict[str, str], texts: tuple[str, ...]
) -> None:
    with pytest.raises(SettingsError) as caught:
        await open_store(**{"table": "pg_class", **changes})
    assert all(text in str(caught.value) for text in texts), str(caught.value)


async def test_the_older_name_of_the_idle_time_and_another_name_of_the_type(
    table: ConfigurationTable, server: Backend
) -> None:
    manifest = component(
        "config",
        "configuration.postgres",
        connectionString=words(server.port),
        table=table.name,
        connMaxIdleTime="1m",
    )
    table.add("k", "v", "1")
    with Sidecar(resources=[manifest]) as sidecar:
        answer = await acall(sidecar.http_port, "GET", "/v1.0/configuration/config?key=k")
        assert answer.json == {"k": {"value": "v", "version": "1"}}
        assert "connMaxIdleTime" not in sidecar.log


async def test_a_subscription_needs_a_channel(table: ConfigurationTable, open_store: Open) -> None:
    store = await open_store(table.name)
    with pytest.raises(ValueError, match="'pgNotifyChannel': expected the channel"):
        await store.subscribe(["k"], {}, Updates())
    with pytest.raises(ValueError, match="'pgNotifyChannel': expected the name"):
        await store.subscribe(["k"], {"pgNotifyChannel": "c" * 64}, Updates())


# --- changes ------------------------------------------------------------------------------------


async def test_a_version_comes_and_goes(table: ConfigurationTable, open_store: Open) -> None:
    store, updates = await open_store(table.name), Updates()
    table.add("k", "one", "1")
    await store.subscribe(["k"], {"pgNotifyChannel": table.channel}, updates)
    table.add("k", "two", "2", '{"by": "me"}')
    assert await updates.next() == {"k": Item("two", "2", {"by": "me"})}
    table.run(f"DELETE FROM {table.name} WHERE version = $1", "2")
    assert await updates.next() == {"k": Item("one", "1")}
    table.write("k", None)
    assert await updates.next() == {"k": Item()}


async def test_the_same_value_is_told_again(table: ConfigurationTable, open_store: Open) -> None:
    store, updates = await open_store(table.name, notifyChannel=table.channel), Updates()
    table.write("k", "v", "1")
    await store.subscribe([], {}, updates)
    table.write("k", "v", "1")
    assert await updates.next() == {"k": Item("v", "1")}


async def test_channels_are_apart(table: ConfigurationTable, open_store: Open) -> None:
    store, one, two = await open_store(table.name), Updates(), Updates()
    first = await store.subscribe([], {"pgNotifyChannel": table.channel}, one)
    await store.subscribe([], {"PGNOTIFYCHANNEL": 'An "odd" Channel'}, two)
    table.write("k", "1")
    assert await one.next() == {"k": Item("1")}
    table.run("SELECT pg_notify($1, $2)", 'An "odd" Channel', '{"data": {"key": "k"}}')
    assert await two.next() == {"k": Item("1")}
    await store.unsubscribe(first)
    table.write("k", "2")
    await one.none()
    assert two.queue.empty()


async def test_notifications_of_another_table_and_ones_that_say_nothing(
    table: ConfigurationTable, server: Backend, open_store: Open
) -> None:
    store, updates = await open_store(table.name, notifyChannel=table.channel), Updates()
    await store.subscribe([], {}, updates)
    other = ConfigurationTable(server.port, f"{table.name}_2", table.channel)
    other.create()
    other.write("foreign", "1")
    for payload in ("", "no JSON", "[]", '{"data": null}', '{"data": {"key": 5}}'):
        table.run("SELECT pg_notify($1, $2)", table.channel, payload)
    await updates.none()
    # What was written without a word is found by the next notification, whatever it says.
    table.run(f"ALTER TABLE {table.name} DISABLE TRIGGER ALL; ")
    table.write("silent", "1")
    await updates.none()
    table.run("SELECT pg_notify($1, $2)", table.channel, "look")
    assert await updates.next() == {"silent": Item("1")}


async def test_all_subscriptions_share_one_connection_and_the_last_one_ends_it(
    table: ConfigurationTable, open_store: Open
) -> None:
    store = await open_store(table.name, notifyChannel=table.channel)
    found = [await store.subscribe([f"k{n}"], {}, Updates()) for n in range(20)]
    connection = store._listener._connection
    process = connection.get_server_pid()
    listening_ones = "SELECT pid FROM pg_stat_activity WHERE query = $1"
    listen = f'LISTEN "{table.channel}"'
    assert await asyncio.to_thread(table.run, listening_ones, listen) == [(process,)]
    for one in found:
        assert not connection.is_closed()
        await store.unsubscribe(one)
    async with asyncio.timeout(30):
        while await asyncio.to_thread(
            table.run, "SELECT 1 FROM pg_stat_activity WHERE pid = $1", process
        ):
            await asyncio.sleep(0.05)
    with pytest.raises(KeyError):
        await store.unsubscribe(found[0])
    updates = Updates()
    await store.subscribe([], {}, updates)
    table.write("k", "again")
    assert await updates.next() == {"k": Item("again")}


# --- losses -------------------------------------------------------------------------------------


async def test_what_changed_while_the_connection_was_lost_is_told_and_nothing_else(
    table: ConfigurationTable, server: Backend, open_store: Open
) -> None:
    for key in ("same", "changed", "deleted"):
        table.write(key, "before", "1")
    async with proxy(server.port) as line:
        store = await open_store(table.name, line.port, notifyChannel=table.channel)
        every, one = Updates(), Updates()
        await store.subscribe([], {}, every)
        await store.subscribe(["same"], {}, one)
        line.refuse()
        table.write("changed", "after", "2")
        table.write("deleted", None)
        table.write("new", "after", "1")
        with pytest.raises(PostgresError):
            await store.get(["same"], {})
        await line.start()
        found: dict[str, Item] = {}
        while len(found) < 3:
            found.update(await every.next())
        assert found == {
            "changed": Item("after", "2"),
            "deleted": Item(),
            "new": Item("after", "1"),
        }
        await every.none()
        assert one.queue.empty()
        table.write("same", "after", "2")
        assert await one.next() == await every.next() == {"same": Item("after", "2")}


@pytest.mark.slow
async def test_a_server_that_was_killed_and_comes_back() -> None:
    with Backend("postgres") as server:
        table = ConfigurationTable(server.port, "config")
        table.create()
        table.write("k", "before", "1")
        properties = {"connectionString": words(server.port), "table": "config"}
        store = make(PostgresConfigurationStore, notifyChannel="config", **properties)
        await store.open()
        updates = Updates()
        await store.subscribe(["k"], {}, updates)
        for value in ("while it was away", "again"):
            server.kill()
            await asyncio.to_thread(server.restart)
            table.write("k", value, "2")
            assert (await updates.next())["k"].value == value
        await store.close()


@pytest.mark.slow
async def test_a_server_that_says_nothing_any_more(
    table: ConfigurationTable,
    server: Backend,
    open_store: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connection looks as good as ever: only a question that is not answered tells."""
    monkeypatch.setattr(listening, "_PING_SECONDS", 0.2)
    monkeypatch.setattr(listening, "_ANSWER_SECONDS", 1.0)
    async with proxy(server.port) as line:
        more = {"notifyChannel": table.channel, "timeout": "1s"}
        store, updates = await open_store(table.name, line.port, **more), Updates()
        await store.subscribe([], {}, updates)
        connection = store._listener._connection
        line.hold()
        table.write("k", "1")
        await until(connection.is_closed, 30)
        line.release()
        assert await updates.next() == {"k": Item("1")}
        assert store._listener._connection is not connection


async def test_a_subscription_to_a_server_that_is_away(
    table: ConfigurationTable, server: Backend, open_store: Open
) -> None:
    async with proxy(server.port) as line:
        store = await open_store(table.name, line.port, notifyChannel=table.channel)
        line.refuse()
        with pytest.raises(PostgresError, match="cannot be reached"):
            await store.subscribe([], {}, Updates())
        assert store._watches == {}
        await line.start()
        updates = Updates()
        await store.subscribe([], {}, updates)
        table.write("k", "1")
        assert await updates.next() == {"k": Item("1")}


async def test_nothing_is_left_when_it_is_closed(
    table: ConfigurationTable, open_store: Open
) -> None:
    before = asyncio.all_tasks()
    store = await open_store(table.name, notifyChannel=table.channel)
    await store.subscribe([], {}, Updates())
    await store.close()
    await store.close()
    assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()
    with pytest.raises(PostgresError, match="closed"):
        await store.get(["k"], {})
    with pytest.raises(PostgresError, match="closed"):
        await store.subscribe([], {}, Updates())


# --- the app ------------------------------------------------------------------------------------


async def test_an_app_gets_values_and_changes_through_a_sidecar(
    table: ConfigurationTable, server: Backend
) -> None:
    manifest = component(
        "config",
        "configuration.postgresql",
        connectionString=words(server.port),
        table=table.name,
    )
    table.write("colour", "red", "1", '{"by": "me"}')
    async with LocalApp({"POST /configuration/config/colour": 200}) as app:
        sidecar = Sidecar(resources=[manifest], app_port=app.port)
        await asyncio.to_thread(sidecar.__enter__)
        try:
            await _use(sidecar, table, app)
        finally:
            await asyncio.to_thread(sidecar.__exit__, None, None, None)


async def _use(sidecar: Sidecar, table: ConfigurationTable, app: LocalApp) -> None:
    async def get(path: str) -> Any:
        return await acall(sidecar.http_port, "GET", f"/v1.0/configuration/config{path}")

    found = {"colour": {"value": "red", "version": "1", "metadata": {"by": "me"}}}
    assert (await get("?key=colour")).json == found
    assert (await get("?key=none")).status == 204
    refused = await get("/subscribe?key=colour")
    assert (refused.status, refused.code) == (500, "ERR_CONFIGURATION_SUBSCRIBE")
    assert "pgNotifyChannel" in refused.json["message"]
    channel = f"metadata.pgNotifyChannel={table.channel}"
    made = (await get(f"/subscribe?key=colour&{channel}")).json["id"]
    table.write("colour", "blue", "2")
    (seen,) = await app.wait("/configuration/config/colour")
    assert seen.json == {"id": made, "items": {"colour": {"value": "blue", "version": "2"}}}
    table.write("colour", None)
    last = (await app.wait("/configuration/config/colour", 2))[-1]
    assert last.json == {"id": made, "items": {"colour": {}}}
    assert (await get(f"/{made}/unsubscribe")).json == {"ok": True}
    table.write("colour", "unheard", "3")
    await asyncio.sleep(NOTHING)
    assert len(app.seen_on("/configuration/config/colour")) == 2
