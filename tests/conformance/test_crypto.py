"""What every crypto provider promises, run against each of them."""

from __future__ import annotations

import asyncio
import os
from typing import cast

import pytest
from harness.component_table import Maker

from dapr_sidecar.components.crypto.base import CryptoProvider

KIND = "crypto"


@pytest.fixture
async def provider(maker: Maker) -> CryptoProvider:
    return cast(CryptoProvider, await maker.component())


async def test_there_and_back(maker: Maker, provider: CryptoProvider) -> None:
    for algorithm, name in maker.entry["keys"].items():
        key = os.urandom(32)
        wrapped = await provider.wrap_key(key, algorithm, name)
        assert key not in wrapped
        assert await provider.unwrap_key(wrapped, algorithm, name) == key


async def test_many_at_once(maker: Maker, provider: CryptoProvider) -> None:
    algorithm, name = next(iter(maker.entry["keys"].items()))
    keys = [os.urandom(32) for _ in range(50)]
    wrapped = await asyncio.gather(*(provider.wrap_key(key, algorithm, name) for key in keys))
    found = await asyncio.gather(*(provider.unwrap_key(one, algorithm, name) for one in wrapped))
    assert found == keys


async def test_what_was_changed_is_not_the_key(maker: Maker, provider: CryptoProvider) -> None:
    algorithm, name = next(iter(maker.entry["keys"].items()))
    key = os.urandom(32)
    wrapped = bytearray(await provider.wrap_key(key, algorithm, name))
    wrapped[0] ^= 1
    unwrapping = provider.unwrap_key(bytes(wrapped), algorithm, name)
    found = await asyncio.gather(unwrapping, return_exceptions=True)
    assert found != [key]  # algorithms that notice raise, the others give something else


async def test_missing_keys_and_unknown_algorithms(maker: Maker, provider: CryptoProvider) -> None:
    algorithm, name = next(iter(maker.entry["keys"].items()))
    with pytest.raises(Exception, match="no-such-key"):
        await provider.wrap_key(bytes(32), algorithm, "no-such-key")
    with pytest.raises(Exception, match="no-such-algorithm"):
        await provider.wrap_key(bytes(32), "no-such-algorithm", name)


async def test_closed_twice(provider: CryptoProvider) -> None:
    await provider.ping()
    await provider.close()
    await provider.close()
