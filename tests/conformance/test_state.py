"""What every state store promises, run against each of them."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Any, cast

import pytest
from harness.component_table import Maker
from harness.state_preparations import prepare

from dapr_sidecar.components.state.base import (
    BulkError,
    DeleteRequest,
    EtagError,
    Feature,
    GetRequest,
    GetResponse,
    Json,
    Queryable,
    SetRequest,
    StateStore,
    Transactional,
)

KIND = "state"


@pytest.fixture
async def store(maker: Maker) -> StateStore:
    await prepare(maker)
    return cast(StateStore, await maker.component())


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A key that no other test of this store uses."""
    return f"app||{request.node.originalname}-{time.monotonic_ns()}"


async def read(store: StateStore, key: str, **more: Any) -> GetResponse:
    return await store.get(GetRequest(key, **more))


async def write(store: StateStore, key: str, value: bytes = b"v", **more: Any) -> str:
    """Save a value; returns the new etag."""
    await store.set(SetRequest(key, value, **more))
    etag = (await read(store, key)).etag
    assert etag
    return etag


def written(maker: Maker, data: bytes | None) -> bytes | None:
    """JSON without the spaces that some databases put into it, and with all digits."""
    if data == b"12345678901234567000" and maker.promises("double-numbers"):
        return b"12345678901234567890"
    if data is None or not maker.promises("respaced-json"):
        return data
    return json.dumps(json.loads(data), separators=(",", ":"), ensure_ascii=False).encode()


async def test_what_it_says_it_can_do(maker: Maker, store: StateStore) -> None:
    names = {feature.value for feature in Feature}
    assert {feature.value for feature in store.features} == names & set(maker.entry["features"])
    assert set(store.feature_order) == store.features
    assert isinstance(store, Transactional) == (Feature.TRANSACTIONAL in store.features)
    if Feature.QUERY_API in store.features:  # Redis has it only with the modules it needs
        assert isinstance(store, Queryable)


# --- values and keys --------------------------------------------------------------------------


async def test_absent(store: StateStore, key: str) -> None:
    found = await read(store, key)
    assert (found.data, found.etag) == (None, None)


async def test_save_overwrite_delete(store: StateStore, key: str) -> None:
    await write(store, key, b"one")
    await write(store, key, b"two")
    assert (await read(store, key)).data == b"two"
    await store.delete(DeleteRequest(key))
    assert (await read(store, key)).data is None
    await store.delete(DeleteRequest(key))


@pytest.mark.parametrize("value", [b"", b"\x00\xff\xfe", b"{not json", b"x" * 200_000])
async def test_bytes_come_back_as_they_were(store: StateStore, key: str, value: bytes) -> None:
    await write(store, key, value)
    assert (await read(store, key)).data == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", b'"text"'),
        (1, b"1"),
        (5.0, b"5"),
        (1.5, b"1.5"),
        (True, b"true"),
        (None, b"null"),
        ([1, "x"], b'[1,"x"]'),
        ({"a": {"b": []}}, b'{"a":{"b":[]}}'),
        ("ü€😀", '"ü€😀"'.encode()),
        (12345678901234567890, b"12345678901234567890"),
    ],
)
async def test_json(maker: Maker, store: StateStore, key: str, value: object, text: bytes) -> None:
    await store.set(SetRequest(key, Json(value)))
    assert written(maker, (await read(store, key)).data) == text


@pytest.mark.parametrize(
    "name",
    ["a b", "ü/€", "a||b", "%2F", "'; DROP TABLE state; --", '"', "\\", "\n", "*?[]", "k" * 1000],
)
async def test_keys_of_all_kinds(maker: Maker, store: StateStore, key: str, name: str) -> None:
    if maker.promises("few-keys"):
        name = name[:900]
        if set(name) & set("/\\?#"):
            with pytest.raises(ValueError, match="in a key"):
                await write(store, key + name)
            return
    await write(store, key + name, b"here")
    assert (await read(store, key + name)).data == b"here"
    assert (await read(store, key)).data is None
    await store.delete(DeleteRequest(key + name))
    assert (await read(store, key + name)).data is None


async def test_keys_are_case_sensitive(store: StateStore, key: str) -> None:
    await write(store, key + "a", b"1")
    await write(store, key + "A", b"2")
    assert (await read(store, key + "a")).data == b"1"


@pytest.mark.parametrize("consistency", ["strong", "eventual"])
async def test_consistency(store: StateStore, key: str, consistency: str) -> None:
    await write(store, key, b"1", consistency=consistency)
    assert (await read(store, key, consistency=consistency)).data == b"1"
    await store.delete(DeleteRequest(key, consistency=consistency))
    assert (await read(store, key, consistency=consistency)).data is None


# --- etags ------------------------------------------------------------------------------------


async def test_etags_change_with_every_write(maker: Maker, store: StateStore, key: str) -> None:
    etags = [await write(store, key) for _ in range(3)]
    assert len(set(etags)) == 3
    if maker.entry["etag"] == "counter":
        assert etags == ["1", "2", "3"]
    assert (await read(store, key)).etag == etags[-1]


async def test_a_stale_etag_fails(store: StateStore, key: str) -> None:
    old = await write(store, key, b"1")
    new = await write(store, key, b"2", etag=old)
    for call in (
        store.set(SetRequest(key, b"3", etag=old)),
        store.delete(DeleteRequest(key, etag=old)),
    ):
        with pytest.raises(EtagError, match="possible etag mismatch") as caught:
            await call
        assert not caught.value.invalid
    assert (await read(store, key)).data == b"2"
    await store.delete(DeleteRequest(key, etag=new))
    assert (await read(store, key)).data is None


async def test_an_etag_of_another_form(maker: Maker, store: StateStore, key: str) -> None:
    await write(store, key, b"1")
    with pytest.raises(EtagError) as caught:
        await store.set(SetRequest(key, b"2", etag="no such"))
    assert caught.value.invalid == (maker.entry["etag"] != "uuid")
    assert (await read(store, key)).data == b"1"


async def test_an_etag_for_an_absent_key(maker: Maker, store: StateStore, key: str) -> None:
    if maker.promises("strict-etag"):
        with pytest.raises(EtagError):
            await store.set(SetRequest(key, b"1", etag="7"))
        with pytest.raises(EtagError):
            await store.delete(DeleteRequest(key, etag="7"))
        assert (await read(store, key)).data is None
    else:
        await store.delete(DeleteRequest(key, etag="7"))
        await store.set(SetRequest(key, b"1", etag="7"))
        assert (await read(store, key)).data == b"1"


async def test_first_write(maker: Maker, store: StateStore, key: str) -> None:
    etag = await write(store, key, b"1", concurrency="first-write")
    # Some tell of a first write without an etag that came second as of any other failure.
    kind = Exception if maker.promises("bare-first-write") else EtagError
    with pytest.raises(kind):
        await store.set(SetRequest(key, b"2", concurrency="first-write"))
    assert (await read(store, key)).data == b"1"
    await write(store, key, b"3", etag=etag, concurrency="first-write")
    with pytest.raises(EtagError):
        await store.set(SetRequest(key, b"4", etag=etag, concurrency="first-write"))
    assert (await read(store, key)).data == b"3"


async def test_last_write_with_an_etag(maker: Maker, store: StateStore, key: str) -> None:
    old = await write(store, key, b"1")
    await write(store, key, b"2", concurrency="last-write")
    request = SetRequest(key, b"3", etag=old, concurrency="last-write")
    if maker.promises("ignored-etag"):
        await store.set(request)
        assert (await read(store, key)).data == b"3"
    else:
        with pytest.raises(EtagError):
            await store.set(request)
        assert (await read(store, key)).data == b"2"


async def test_of_fifty_writers_with_one_etag_one_wins(store: StateStore, key: str) -> None:
    etag = await write(store, key, b"start")
    results = await asyncio.gather(
        *(store.set(SetRequest(key, b"%d" % n, etag=etag)) for n in range(50)),
        return_exceptions=True,
    )
    winners = [n for n, result in enumerate(results) if result is None]
    assert len(winners) == 1
    assert all(isinstance(result, EtagError) for result in results if result is not None)
    assert (await read(store, key)).data == b"%d" % winners[0]


async def test_of_fifty_first_writers_one_wins(store: StateStore, key: str) -> None:
    results = await asyncio.gather(
        *(store.set(SetRequest(key, b"%d" % n, concurrency="first-write")) for n in range(50)),
        return_exceptions=True,
    )
    winners = [n for n, result in enumerate(results) if result is None]
    assert len(winners) == 1
    assert (await read(store, key)).data == b"%d" % winners[0]


async def test_a_counter_by_fifty_writers_loses_no_step(store: StateStore, key: str) -> None:
    await write(store, key, b"0")

    async def step() -> None:
        while True:
            found = await read(store, key)
            assert found.data is not None
            value = b"%d" % (int(found.data) + 1)
            try:
                return await store.set(SetRequest(key, value, etag=found.etag))
            except EtagError:
                continue

    async with asyncio.timeout(30):
        await asyncio.gather(*(step() for _ in range(50)))
    assert (await read(store, key)).data == b"50"


# --- several at once --------------------------------------------------------------------------


async def test_bulk(maker: Maker, store: StateStore, key: str) -> None:
    keys = [f"{key}-{n}" for n in range(120)]
    await store.bulk_set([SetRequest(one, one.encode()) for one in keys])
    asked = [keys[0], key + "-none", *keys[1:]]
    found = await store.bulk_get([GetRequest(one) for one in asked], 7)
    assert {item.key: item.data for item in found} == {
        **{one: one.encode() for one in keys},
        key + "-none": None,
    }
    assert all(bool(item.etag) == (item.data is not None) for item in found)
    if maker.promises("found-first"):
        assert found[-1].key == key + "-none"
    else:
        assert [item.key for item in found] == asked
    await store.bulk_delete([DeleteRequest(one) for one in keys])
    assert all(item.data is None for item in await store.bulk_get([GetRequest(keys[5])], 0))
    assert await store.bulk_get([], 0) == []


async def test_a_bulk_save_names_what_failed(maker: Maker, store: StateStore, key: str) -> None:
    old = await write(store, key + "1")
    await write(store, key + "1", b"new")
    requests = [
        SetRequest(key + "0", b"0"),
        SetRequest(key + "1", b"1", etag=old),
        SetRequest(key + "2", b"2"),
    ]
    if maker.promises("bulk-fails-whole"):
        with pytest.raises(EtagError):
            await store.bulk_set(requests)
        return
    with pytest.raises(BulkError) as caught:
        await store.bulk_set(requests)
    assert list(caught.value.errors) == [1]
    assert isinstance(caught.value.errors[1], EtagError)
    found = await store.bulk_get([GetRequest(key + n) for n in "012"], 0)
    assert [item.data for item in found] == [b"0", b"new", b"2"]


async def test_a_bulk_delete_names_what_failed(maker: Maker, store: StateStore, key: str) -> None:
    old = await write(store, key + "1")
    await write(store, key + "1")
    await write(store, key + "0")
    if maker.promises("bulk-fails-whole"):
        with pytest.raises(EtagError):
            await store.bulk_delete([DeleteRequest(key + "0"), DeleteRequest(key + "1", etag=old)])
        return
    with pytest.raises(BulkError) as caught:
        await store.bulk_delete([DeleteRequest(key + "0"), DeleteRequest(key + "1", etag=old)])
    assert list(caught.value.errors) == [1]
    assert (await read(store, key + "0")).data is None


# --- transactions -----------------------------------------------------------------------------


@pytest.fixture
async def transactional(maker: Maker, store: StateStore) -> Any:
    maker.require("TRANSACTIONAL")
    partition = maker.entry.get("partition")
    return InPartition(store, partition) if partition else store


class InPartition:
    """A store whose requests name one partition."""

    def __init__(self, store: Any, partition: str) -> None:
        self._store = store
        self._metadata = {"partitionKey": partition}

    async def get(self, request: GetRequest) -> GetResponse:
        found: GetResponse = await self._store.get(self._within(request))
        return found

    async def set(self, request: SetRequest) -> None:
        await self._store.set(self._within(request))

    async def transact(self, operations: list[Any], metadata: dict[str, str]) -> None:
        await self._store.transact(operations, {**metadata, **self._metadata})

    def _within(self, request: Any) -> Any:
        return replace(request, metadata={**request.metadata, **self._metadata})


async def test_a_transaction(maker: Maker, transactional: Any, key: str) -> None:
    store = transactional
    await write(store, key + "old")
    await store.transact(
        [
            SetRequest(key + "1", Json({"n": 1})),
            DeleteRequest(key + "old"),
            SetRequest(key + "2", b"first"),
            SetRequest(key + "2", b"second"),
            DeleteRequest(key + "none"),
        ],
        {},
    )
    found = [(await read(store, key + name)).data for name in ("1", "2", "old")]
    assert [written(maker, found[0]), *found[1:]] == [b'{"n":1}', b"second", None]


async def test_a_transaction_of_one(transactional: Any, key: str) -> None:
    await transactional.transact([SetRequest(key, b"1")], {})
    etag = (await read(transactional, key)).etag
    await transactional.transact([DeleteRequest(key, etag=etag)], {})
    assert (await read(transactional, key)).data is None


async def test_a_transaction_that_fails(maker: Maker, transactional: Any, key: str) -> None:
    store = transactional
    old = await write(store, key + "1")
    await write(store, key + "1", b"new")
    operations = [SetRequest(key + "0", b"0"), SetRequest(key + "1", b"1", etag=old)]
    with pytest.raises(EtagError):
        await store.transact(operations, {})
    assert (await read(store, key + "1")).data == b"new"
    changed = (await read(store, key + "0")).data
    assert changed == (None if maker.promises("rolls-back") else b"0")


async def test_transactions_do_not_mix(transactional: Any, key: str) -> None:
    store = transactional

    async def both(value: bytes) -> None:
        await store.transact([SetRequest(key + "a", value), SetRequest(key + "b", value)], {})

    await asyncio.gather(*(both(b"%d" % n) for n in range(50)))
    assert (await read(store, key + "a")).data == (await read(store, key + "b")).data


# --- expiry -----------------------------------------------------------------------------------


def ttl(seconds: object) -> dict[str, str]:
    return {"ttlInSeconds": str(seconds)}


async def lend(store: StateStore, key: str, seconds: int) -> None:
    """Save a value for so long, and do not look: whole seconds may end at once."""
    await store.set(SetRequest(key, b"v", metadata=ttl(seconds)))


async def gone(store: StateStore, key: str) -> None:
    async with asyncio.timeout(10):
        while (await read(store, key)).data is not None:
            await asyncio.sleep(0.05)


async def test_expiry(maker: Maker, store: StateStore, key: str) -> None:
    maker.require("TTL")
    await write(store, key + "stays", metadata=ttl(1000))
    await lend(store, key, 1)
    reported = (await read(store, key + "stays")).metadata.get("ttlExpireTime")
    assert bool(reported) == maker.promises("ttl-reported")
    await gone(store, key)
    found = await store.bulk_get([GetRequest(key), GetRequest(key + "stays")], 0)
    assert {item.key: item.data for item in found} == {key: None, key + "stays": b"v"}


async def test_what_expired_can_be_written_again(maker: Maker, store: StateStore, key: str) -> None:
    maker.require("TTL")
    etag = await write(store, key, metadata=ttl(3))  # long enough to be read once
    await gone(store, key)
    if maker.promises("strict-etag"):
        with pytest.raises(EtagError):
            await store.set(SetRequest(key, b"2", etag=etag))
    await write(store, key, b"3", concurrency="first-write")
    assert (await read(store, key)).data == b"3"


async def test_an_expiry_is_taken_away(maker: Maker, store: StateStore, key: str) -> None:
    maker.require("TTL")
    await lend(store, key + "-1", 2)
    await write(store, key + "-1", metadata=ttl(-1))
    await lend(store, key + "0", 2)
    await write(store, key + "0", metadata=ttl(0))
    await lend(store, key + "kept", 2)  # until it is written again
    await store.set(SetRequest(key + "kept", b"again"))
    await asyncio.sleep(3.1)  # the stores count whole seconds
    assert (await read(store, key + "-1")).data == b"v"
    assert (await read(store, key + "0")).data == b"v"
    expected = None if maker.promises("keeps-ttl") else b"again"
    assert (await read(store, key + "kept")).data == expected


async def test_an_expiry_in_a_transaction(maker: Maker, transactional: Any, key: str) -> None:
    maker.require("TTL")
    await transactional.transact([SetRequest(key, b"1", metadata=ttl(1))], {})
    await gone(transactional, key)


async def test_an_expiry_that_is_no_number(maker: Maker, store: StateStore, key: str) -> None:
    maker.require("TTL")
    with pytest.raises(ValueError, match="ttlInSeconds"):
        await store.set(SetRequest(key, b"1", metadata=ttl("soon")))
    assert (await read(store, key)).data is None


# --- life -------------------------------------------------------------------------------------


async def test_data_outlives_the_component(maker: Maker, store: StateStore, key: str) -> None:
    maker.require("survives")
    etag = await write(store, key, b"1")
    await store.close()
    again = await maker.component()
    found = await read(again, key)
    assert (found.data, found.etag) == (b"1", etag)


async def test_components_share_the_data(maker: Maker, store: StateStore, key: str) -> None:
    maker.require("shared")
    other = cast(StateStore, await maker.component())
    etag = await write(store, key, b"0")
    results = await asyncio.gather(
        *(
            one.set(SetRequest(key, b"%d" % n, etag=etag))
            for n, one in enumerate([store, other] * 25)
        ),
        return_exceptions=True,
    )
    assert [result is None for result in results].count(True) == 1
    assert (await read(store, key)).data == (await read(other, key)).data


async def test_closed_twice(store: StateStore) -> None:
    await store.ping()
    await store.close()
    await store.close()


async def test_query(maker: Maker, store: StateStore, key: str) -> None:
    maker.require("QUERY_API")
    queryable = cast(Any, store)
    for n, state in enumerate(("CA", "WA", "CA")):
        await store.set(SetRequest(f"{key}-{n}", Json({"state": state, "n": n})))
    page = {"limit": 1}
    query = {"filter": {"EQ": {"state": "CA"}}, "sort": [{"key": "n", "order": "DESC"}]}
    first = await queryable.query({**query, "page": page}, {})
    assert [item.key for item in first.items] == [f"{key}-2"]
    second = await queryable.query({**query, "page": {**page, "token": first.token}}, {})
    assert [item.key for item in second.items] == [f"{key}-0"]
