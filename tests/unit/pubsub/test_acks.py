"""Acknowledgements a broker never takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from dapr_sidecar.components.pubsub import acks


async def test_refused_acknowledgements_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acks, "_MOST", 3)
    monkeypatch.setattr(acks, "_RETRY_SECONDS", 0)
    sent: list[list[int]] = []
    enough = asyncio.Event()

    async def refuse(items: Sequence[int]) -> None:
        sent.append(list(items))
        if len(sent) == 1:
            raise PermissionError("NOPERM")
        enough.set()

    buffer: acks.AckBuffer[int] = acks.AckBuffer(refuse)
    for number in range(5):
        buffer.add(number)
    await enough.wait()
    await buffer.close()
    assert sent == [[0, 1, 2, 3, 4], [2, 3, 4]]


async def test_nothing_is_tried_again_after_the_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acks, "_RETRY_SECONDS", 0.01)
    tried = 0
    again = asyncio.Event()

    async def refuse(_: Sequence[int]) -> None:
        nonlocal tried
        tried += 1
        if tried > 1:
            again.set()
        raise ConnectionError("gone")

    buffer: acks.AckBuffer[int] = acks.AckBuffer(refuse)
    buffer.add(1)
    await again.wait()
    with pytest.raises(TimeoutError):  # who closes has less patience than the buffer
        await asyncio.wait_for(buffer.close(), 0.05)
    seen = tried
    await asyncio.sleep(0.1)
    assert tried == seen
