"""What every crypto provider promises, run against each of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import cast

import pytest
from harness.block_api import loaded, make_context
from harness.component_table import Maker
from harness.crypto_preparations import prepared

from dapr_common.errors import DaprError
from dapr_sidecar.blocks.crypto.block import CryptoBlock, EncryptOptions
from dapr_sidecar.blocks.crypto.errors import SegmentError
from dapr_sidecar.components.crypto.base import CryptoProvider

KIND = "crypto"
SEGMENT = 64 << 10


@pytest.fixture
async def provider(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CryptoProvider]:
    async with prepared(maker):
        for name, value in maker.filled(maker.entry.get("environment", {})).items():
            monkeypatch.setenv(name, value)
        yield cast(CryptoProvider, await maker.component())


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


# --- documents --------------------------------------------------------------------------------


@pytest.fixture
def block(provider: CryptoProvider) -> CryptoBlock:
    found = CryptoBlock(make_context())
    found.context.components.crypto["c"] = loaded("c", provider)
    return found


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def encrypted(block: CryptoBlock, options: EncryptOptions, plain: bytes) -> bytes:
    chunks = block.encrypt("c", options, pieces(plain, 10_000))
    return b"".join([part async for part in chunks])


async def decrypted(block: CryptoBlock, sealed: bytes, key: str = "") -> bytes:
    chunks = block.decrypt("c", key, pieces(sealed, 30_000))
    return b"".join([part async for part in chunks])


@pytest.mark.parametrize("size", [0, 1, SEGMENT, SEGMENT + 1, 5 * SEGMENT])
async def test_documents_as_streams(maker: Maker, block: CryptoBlock, size: int) -> None:
    plain = os.urandom(size)
    for algorithm, name in maker.entry["keys"].items():
        options = EncryptOptions(name, algorithm)
        sealed = await encrypted(block, options, plain)
        assert sealed.startswith(b"dapr.io/enc/v1\n")
        assert await decrypted(block, sealed) == plain  # by the name it carries
        assert await decrypted(block, sealed, name) == plain


async def test_documents_that_were_changed(maker: Maker, block: CryptoBlock) -> None:
    algorithm, name = next(iter(maker.entry["keys"].items()))
    sealed = await encrypted(block, EncryptOptions(name, algorithm), os.urandom(2 * SEGMENT))
    with pytest.raises(SegmentError):
        await decrypted(block, sealed[:-1])
    with pytest.raises(SegmentError):
        await decrypted(block, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    head, _, rest = sealed.partition(b'"cph":1')
    with pytest.raises(DaprError, match="signature"):
        await decrypted(block, head + b'"cph":2' + rest)


async def test_closed_twice(provider: CryptoProvider) -> None:
    await provider.ping()
    await provider.close()
    await provider.close()
