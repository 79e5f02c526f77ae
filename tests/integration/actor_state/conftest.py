"""Every test here runs over each store that can keep actors' state without a server to be had."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.block_api import loaded, make
from harness.redis_server import RedisServer, redis_server
from harness.stand_in_actors import ActorSide, Assignment

from dapr_sidecar.components.state.memory import InMemoryStateStore
from dapr_sidecar.components.state.redis import RedisStateStore
from dapr_sidecar.components.state.sqlite import SqliteStateStore

MakeSide = Callable[..., Awaitable[ActorSide]]


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    with redis_server() as server:
        yield server


class Stores:
    """Makes connections to one and the same store: one for each sidecar of a test."""

    def __init__(self, kind: str, folder: Path, server: RedisServer | None) -> None:
        self.kind = kind
        self._folder = folder
        self._server = server
        self._memory: Any = None
        self.opened: list[Any] = []

    async def open(self) -> Any:
        store = self._make()
        if store not in self.opened:
            await store.open()
            self.opened.append(store)
        return loaded("st", store, actorStateStore="true")

    def _make(self) -> Any:
        if self.kind == "redis":
            assert self._server is not None
            return make(RedisStateStore, redisHost=self._server.address)
        if self.kind == "sqlite":
            return make(SqliteStateStore, connectionString=str(self._folder / "state.db"))
        self._memory = self._memory or make(InMemoryStateStore)
        return self._memory

    async def close(self) -> None:
        for store in self.opened:
            await store.close()


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    server = request.getfixturevalue("redis") if request.param == "redis" else None
    if server is not None:
        server.call("FLUSHALL")
    found = Stores(request.param, tmp_path, server)
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
