"""Placement that ``dapr run`` keeps up: on a port of its own, for the usual one is everybody's."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from harness.cli import Dapr
from harness.placement_process import PlacementClient
from harness.programs import accepts_connections, free_port

from dapr_cli.console import Console
from dapr_cli.install import Install
from dapr_cli.local_placement import LocalPlacement, is_wanted
from dapr_cli.processes import pids_of
from dapr_cli.settings import RunSettings


@pytest.fixture
def dapr(tmp_path: Path) -> Dapr:
    found = Dapr(tmp_path)
    found.init()
    return found


async def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def kept(install: Install, port: int, idle: str = "30s") -> AsyncIterator[None]:
    placement = LocalPlacement(install, Console(), port=port, idle=idle)
    keeping = asyncio.create_task(placement.keep())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})


async def test_it_is_there_outlives_who_started_it_and_ends_when_idle(dapr: Dapr) -> None:
    install, port = Install(dapr.home / ".dapr"), free_port()
    async with kept(install, port, idle="5s"):
        await until(lambda: accepts_connections(port))
        (pid,) = pids_of(install.placement)
        assert os.getsid(pid) == pid, "Ctrl-C of the terminal is not for it"
        client = PlacementClient(f"127.0.0.1:{port}", "app")
        await client.report()
        await client.obey("lock 0", "update 0", "unlock 0")
    await asyncio.sleep(5.5)
    assert pids_of(install.placement) == [pid], "a sidecar is connected"
    await client.close()
    await until(lambda: not pids_of(install.placement))
    log = (install.root / "logs" / "placement.log").read_text()
    assert "No sidecar has been connected for 5 s" in log


async def test_it_is_started_again_and_shared_and_ended_by_uninstall(dapr: Dapr) -> None:
    install, port = Install(dapr.home / ".dapr"), free_port()
    async with kept(install, port), kept(install, port):
        await until(lambda: accepts_connections(port))
        killed = pids_of(install.placement)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: bool(set(pids_of(install.placement)) - set(killed)))
        await until(lambda: accepts_connections(port))
    done = await asyncio.to_thread(dapr, "uninstall")
    assert "The local placement service is stopped" in done.stdout
    await until(lambda: not accepts_connections(port))


def test_only_where_nobody_named_another_place(tmp_path: Path) -> None:
    secured = tmp_path / "config.yaml"
    secured.write_text(
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\n"
        "spec: {mtls: {enabled: true}}\n"
    )
    assert is_wanted(RunSettings(app_id="a"))
    assert is_wanted(RunSettings(app_id="a", placement_host_address="localhost:50005"))
    assert not is_wanted(RunSettings(app_id="a", config=str(secured)))
    for other in ("", "localhost:50006", "127.0.0.1:9", "place", "localhost:50005,other:50005"):
        assert not is_wanted(RunSettings(app_id="a", placement_host_address=other))
