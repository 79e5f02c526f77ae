"""What every lock store promises, run against each of them."""

from __future__ import annotations

import asyncio
import uuid
from typing import cast

import pytest
from harness.component_table import Maker

from dapr_sidecar.components.lock.base import LockStore, UnlockStatus

KIND = "lock"


@pytest.fixture
async def store(maker: Maker) -> LockStore:
    return cast(LockStore, await maker.component())


@pytest.fixture
def name() -> str:
    return f"lock||app||{uuid.uuid4()}"


async def test_a_held_lock_is_nobodys_to_take(store: LockStore, name: str) -> None:
    assert await store.try_lock(name, "me", 60)
    assert not await store.try_lock(name, "you", 60)
    assert not await store.try_lock(name, "me", 60)
    assert await store.try_lock(name + "-other", "you", 60)


async def test_unlock(store: LockStore, name: str) -> None:
    assert await store.unlock(name, "me") is UnlockStatus.LOCK_DOES_NOT_EXIST
    await store.try_lock(name, "me", 60)
    assert await store.unlock(name, "you") is UnlockStatus.LOCK_BELONGS_TO_OTHERS
    assert await store.unlock(name, "me") is UnlockStatus.SUCCESS
    assert await store.try_lock(name, "you", 60)


async def test_a_lock_ends_by_itself(store: LockStore, name: str) -> None:
    assert await store.try_lock(name, "me", 1)
    async with asyncio.timeout(10):
        while not await store.try_lock(name, "you", 60):
            await asyncio.sleep(0.05)
    assert await store.unlock(name, "me") is UnlockStatus.LOCK_BELONGS_TO_OTHERS


async def test_of_fifty_one_gets_it(maker: Maker, store: LockStore, name: str) -> None:
    other = await maker.component()
    owners = [f"o{n}" for n in range(50)]
    got = await asyncio.gather(
        *(
            one.try_lock(name, owner, 60)
            for owner, one in zip(owners, [store, other] * 25, strict=True)
        )
    )
    assert got.count(True) == 1
    freed = await asyncio.gather(*(store.unlock(name, owner) for owner in owners))
    assert freed.count(UnlockStatus.SUCCESS) == 1
    assert freed.index(UnlockStatus.SUCCESS) == got.index(True)


@pytest.mark.parametrize("owner", ["a b", "ü€", "'; x", "o" * 1000])
async def test_owners_of_all_kinds(store: LockStore, name: str, owner: str) -> None:
    assert await store.try_lock(name + owner, owner, 60)
    assert await store.unlock(name + owner, owner) is UnlockStatus.SUCCESS


async def test_closed_twice(store: LockStore) -> None:
    await store.ping()
    await store.close()
    await store.close()
