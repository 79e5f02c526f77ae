"""Addresses of placement that cannot be used, which must not end the sidecar."""

from __future__ import annotations

import asyncio

import pytest
from harness.block_api import make_context

from dapr_sidecar.blocks.actors.ownership import PlacementView
from dapr_sidecar.blocks.actors.placement import PlacementClient
from dapr_sidecar.blocks.actors.placement_addresses import Addresses, PlacementSettings


@pytest.mark.parametrize("resolve", [True, False])
async def test_a_name_no_resolver_takes_is_tried_again(resolve: bool) -> None:
    settings = PlacementSettings(name="me:1", addresses=("a..b:1",), resolve=resolve)
    addresses, asked = Addresses(settings), asyncio.Event()
    turns = 0

    async def following() -> str:
        nonlocal turns
        turns += 1
        if turns == 2:
            asked.set()
        return await addresses.next()

    client = PlacementClient(make_context(), PlacementView(30.0), settings, following, None)
    running = asyncio.create_task(client.run())
    async with asyncio.timeout(30):
        await asked.wait()
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])
