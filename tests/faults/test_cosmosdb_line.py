"""The line to Cosmos DB stalls or is cut; the service is a stand-in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from harness.block_api import make
from harness.proxy import Proxy, proxy
from harness.stand_in_cosmos import KEY, stand_in_cosmos

from dapr_sidecar.components.state.base import GetRequest, SetRequest
from dapr_sidecar.components.state.cosmosdb import CosmosDbStateStore
from dapr_sidecar.components.web import WebError

_SECONDS, _SLACK = 3.0, 6.0


@pytest.fixture
async def line() -> AsyncIterator[Proxy]:
    with stand_in_cosmos() as service:
        async with proxy(service.port) as found:
            yield found


@pytest.fixture
async def store(line: Proxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CosmosDbStateStore]:
    monkeypatch.setattr("dapr_sidecar.components.state.cosmosdb._SECONDS", _SECONDS)
    found: CosmosDbStateStore = make(
        CosmosDbStateStore,
        url=f"http://127.0.0.1:{line.port}",
        masterKey=KEY,
        database="db",
        collection="col",
    )
    await found.open()
    yield found
    await found.close()


async def test_a_line_that_forwards_nothing(line: Proxy, store: CosmosDbStateStore) -> None:
    await store.set(SetRequest("k", b"1"))
    line.hold()
    started = time.monotonic()
    # Few: the stand-in's queue of connections is short.
    calls = [store.get(GetRequest("k")), store.set(SetRequest("w", b"1")), store.ping()]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert time.monotonic() - started < _SECONDS + _SLACK
    for outcome in outcomes:
        assert isinstance(outcome, WebError)
        assert f"127.0.0.1:{line.port}: no answer within" in str(outcome)
    line.release()
    assert (await store.get(GetRequest("k"))).data == b"1"


async def test_connections_that_die_in_silence(line: Proxy, store: CosmosDbStateStore) -> None:
    await store.set(SetRequest("k", b"1"))
    line.lose()
    with pytest.raises(WebError, match="no answer within"):
        await store.get(GetRequest("k"))
    assert (await store.get(GetRequest("k"))).data == b"1"


async def test_a_cut_line(line: Proxy, store: CosmosDbStateStore) -> None:
    await store.set(SetRequest("k", b"1"))
    line.hold()
    waiting = [asyncio.ensure_future(store.get(GetRequest("k"))) for _ in range(3)]
    await asyncio.sleep(0.1)
    line.refuse()
    line.release()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, WebError) for outcome in outcomes)
    with pytest.raises(WebError, match=f"127.0.0.1:{line.port} cannot be reached"):
        await store.get(GetRequest("k"))
    await line.start()
    assert (await store.get(GetRequest("k"))).data == b"1"
