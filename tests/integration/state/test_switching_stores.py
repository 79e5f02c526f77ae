"""One app on one API: the manifest says which store it is, the app's code does not know."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from harness.backends import Backends
from harness.dynamodb_calls import create_table
from harness.http_call import acall
from harness.sidecar import Manifest, Sidecar, component
from harness.stand_in_cosmos import KEY, StandInCosmos, stand_in_cosmos
from harness.state_clients import (
    DONE,
    STALE,
    GrpcStateClient,
    HttpStateClient,
    StateClient,
    Write,
)

from dapr_common.grpc.client import GrpcChannel


class App:
    """The app; nothing in it depends on the store, or on the protocol that it is spoken to with."""

    def __init__(self, states: StateClient, name: str) -> None:
        self._states = states
        self._name = name

    def key(self, text: str) -> str:
        return f"{self._name}-{text}"

    async def run(self) -> list[Any]:
        """What the app does; returns all it sees."""
        return [
            *await self.place_orders(),
            *await self.settle_accounts(),
            *await self.keep_for_a_while(),
        ]

    async def place_orders(self) -> list[Any]:
        states, (one, two, three) = self._states, map(self.key, ("1", "2", "3"))
        orders = [Write(key, {"id": key[-1], "item": "päckli"}) for key in (one, two, three)]
        seen: list[Any] = [await states.save(*orders)]
        value, etag = await states.get(one)
        change = Write(one, {"id": "1", "state": "paid"}, etag)
        seen += [value, await states.save(change), await states.save(change)]
        seen += [(await states.get(one))[0], await states.delete(one, etag)]
        seen += [await states.delete(two), await states.get(two)]
        found = await states.bulk([one, two, three])
        seen.append([found[key] for key in (one, two, three)])
        seen.append(await states.delete(one, (await states.get(one))[1]))
        return [*seen, await states.get(one)]

    async def settle_accounts(self) -> list[Any]:
        """Two keys change together. The partition is a word that most stores have no use for."""
        states, account = self._states, {"partitionKey": f"account-{self._name}"}
        balance, log = self.key("balance"), self.key("log")
        both = [Write(balance, 5), Write(log, ["-5"])]
        seen: list[Any] = [await states.transact(both, [], account)]
        seen += [(await states.get(key, account))[0] for key in (balance, log)]
        seen.append(await states.transact([Write(balance, 6)], [log], account))
        seen += [(await states.get(key, account))[0] for key in (balance, log)]
        return seen

    async def keep_for_a_while(self) -> list[Any]:
        states, offer, price = self._states, self.key("offer"), self.key("price")
        seen: list[Any] = [await states.save(Write(offer, "today", seconds=6), Write(price, 7))]
        seen.append((await states.get(offer))[0])
        async with asyncio.timeout(60):
            while (await states.get(offer))[0] is not None:
                await asyncio.sleep(0.2)
        return [*seen, await states.get(offer), (await states.get(price))[0]]


PAID, ITEM = {"id": "1", "state": "paid"}, "päckli"
SEEN = [
    DONE,
    {"id": "1", "item": ITEM},
    DONE,
    STALE,  # that etag was used up
    PAID,
    STALE,  # and a delete with it finds it used up, too
    DONE,
    (None, ""),
    [PAID, None, {"id": "3", "item": ITEM}],
    DONE,
    (None, ""),
    *(DONE, 5, ["-5"], DONE, 6, None),
    *(DONE, "today", (None, ""), 7),
]


@pytest.fixture(scope="module")
def cosmos() -> Iterator[StandInCosmos]:
    with stand_in_cosmos() as found:
        yield found


def manifest(kind: str, backends: Backends, cosmos: StandInCosmos) -> Manifest:
    """What an operator of the app writes: the only thing that differs."""
    if kind == "state.redis":
        return component("orders", kind, redisHost=backends.shared("redis").address)
    if kind == "state.aws.dynamodb":
        address = backends.shared("dynamodb").address
        create_table(address, "orders")
        keys = {"region": "eu-west-1", "accessKey": "a", "secretKey": "b"}
        names = {"table": "orders", "ttlAttributeName": "expires"}
        return component("orders", kind, endpoint=f"http://{address}", **names, **keys)
    if kind == "state.azure.cosmosdb":
        names = {"database": "db", "collection": "col", "masterKey": KEY}
        return component("orders", kind, url=cosmos.url, **names)
    if kind == "state.postgresql":
        port = backends.shared("postgres").port
        text = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
        return component("orders", kind, version="v2", connectionString=text)
    if kind == "state.mongodb":
        host = backends.shared("mongodb").address
        return component("orders", kind, host=host, params="?directConnection=true")
    if kind == "state.etcd":
        return component("orders", kind, version="v2", endpoints=backends.shared("etcd").address)
    return component("orders", kind, connectionString=":memory:")


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "state.redis",
        "state.aws.dynamodb",
        "state.azure.cosmosdb",
        "state.postgresql",
        "state.mongodb",
        "state.etcd",
        "state.sqlite",
    ],
)
async def test_the_manifest_switches_the_store_emulators_and_a_stand_in_for_cosmos(
    kind: str, backends: Backends, cosmos: StandInCosmos
) -> None:
    with Sidecar("shop", resources=[manifest(kind, backends, cosmos)]) as sidecar:
        channel = GrpcChannel(sidecar.grpc_address)
        try:
            over_http = App(HttpStateClient(sidecar, "orders"), "http")
            over_grpc = App(GrpcStateClient(channel, "orders"), "grpc")
            seen = await asyncio.gather(over_http.run(), over_grpc.run())
        finally:
            await channel.close()
        assert seen == [SEEN, SEEN]
        answer = await acall(sidecar.http_port, "GET", "/v1.0/metadata")
        (loaded,) = answer.json["components"]
    assert (loaded["name"], loaded["type"]) == ("orders", kind)
    assert "ACTOR" in loaded["capabilities"]
