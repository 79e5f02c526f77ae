"""Callers of an instance that stops do not notice: it is withdrawn, what it refuses goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

from harness.http_call import call
from harness.local_app import LocalApp, Seen
from harness.sidecar import Sidecar
from harness.sidecar_pair import names_in


async def test_no_caller_waits_for_an_instance_that_stops(tmp_path: Path) -> None:
    config = names_in(tmp_path)
    answered = 0

    async def slow(seen: Seen) -> int:
        await asyncio.sleep(3)  # addresses are asked for once a second
        return 200

    async with (
        LocalApp({"GET /hi": (200, {}), "GET /slow": slow}) as app,
        Sidecar("stop-front", config=config) as front,
        Sidecar("stop-back", config=config, app_port=app.port) as stays,
    ):
        going = asyncio.Event()

        async def ask() -> None:
            nonlocal answered
            path = f"/v1.0/invoke/{stays.app_id}/method/hi"
            while not going.is_set():
                answer = await asyncio.to_thread(call, front.http_port, "GET", path)
                assert answer.status == 200, answer.body
                answered += 1

        async with asyncio.TaskGroup() as tasks:
            for _ in range(4):
                tasks.create_task(ask())
            async with Sidecar("stop-back", config=config, app_port=app.port) as goes:
                before = answered
                while answered < before + 50:
                    await asyncio.sleep(0.01)
                # Something to drain: it stops for longer than it takes to ask for its address.
                path = "/v1.0/invoke/stop-back/method/slow"
                tasks.create_task(asyncio.to_thread(call, goes.http_port, "GET", path))
                await app.wait("/slow")
            going.set()
    assert "Retrying in" not in front.log
