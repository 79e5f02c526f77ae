"""Every test here runs over each kind of store that can keep actors' state."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from harness.backends import Backends
from harness.block_api import loaded, make
from harness.redis_server import RedisServer, is_available, redis_server
from harness.stand_in_actors import ActorSide, Assignment

from dapr_sidecar.components.state.etcd_v2 import EtcdV2StateStore
from dapr_sidecar.components.state.memory import InMemoryStateStore
from dapr_sidecar.components.state.postgresql_v2 import PostgresV2StateStore
from dapr_sidecar.components.state.redis import RedisStateStore
from dapr_sidecar.components.state.sqlite import SqliteStateStore

MakeSide = Callable[..., Awaitable[ActorSide]]
MakeStore = Callable[[], Any]


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    if not is_available():
        pytest.skip("redis-server is not installed")
    with redis_server() as server:
        yield server


class Stores:
    """Makes connections to one and the same store: one for each sidecar of a test."""

    def __init__(self, kind: str, make_store: MakeStore) -> None:
        self.kind = kind
        self._make = make_store
        self.opened: list[Any] = []

    async def open(self) -> Any:
        store = self._make()
        if store not in self.opened:
            await store.open()
            self.opened.append(store)
        return loaded("st", store, actorStateStore="true")

    async def close(self) -> None:
        for store in self.opened:
            await store.close()


def _maker(kind: str, request: pytest.FixtureRequest, folder: Path) -> MakeStore:
    """What connects to a store that is empty yet."""
    if kind == "memory":
        one = make(InMemoryStateStore)
        return lambda: one
    if kind == "sqlite":
        return partial(make, SqliteStateStore, connectionString=str(folder / "state.db"))
    if kind == "redis":
        server: RedisServer = request.getfixturevalue("redis")
        server.call("FLUSHALL")
        return partial(make, RedisStateStore, redisHost=server.address)
    backends: Backends = request.getfixturevalue("backends")
    own = f"actors_{secrets.token_hex(4)}_"
    if kind == "etcd":
        address = backends.shared("etcd").address
        return partial(make, EtcdV2StateStore, endpoints=address, keyPrefixPath=own)
    address = backends.shared("postgres").address
    return partial(
        make,
        PostgresV2StateStore,
        connectionString=f"postgresql://postgres@{address}/postgres",
        tablePrefix=own,
        metadataTableName=f"{own}metadata",
    )


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres", "etcd"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    found = Stores(request.param, _maker(request.param, request, tmp_path))
    yield found
    await found.close()


@pytest.fixture
async def store(stores: Stores) -> Any:
    """The store itself, to look behind the runtime's back."""
    return (await stores.open()).component


@pytest.fixture
async def sides(stores: Stores) -> AsyncIterator[MakeSide]:
    """Makes sidecars of one app; all actors belong to ``a`` unless a test says otherwise."""
    assignment = Assignment(lambda _: "a")
    made: dict[str, ActorSide] = {}

    async def make_side(name: str = "a", **options: Any) -> ActorSide:
        found = ActorSide(name, assignment, await stores.open(), made, **options)
        found.assignment = assignment  # type: ignore[attr-defined]
        return found

    yield make_side
    for side in made.values():
        await side.close()
