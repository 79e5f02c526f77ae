"""Sidecars with actors stop in the time they have."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

from harness.placement_process import Placement
from integration.actors.hosts import host


def test_a_turn_that_would_outlast_the_stop_is_cut(placement: Placement) -> None:
    """Its type allows it a longer drain than a sidecar has time to stop."""
    config = {"entities": ["Stop"], "drainOngoingCallTimeout": "25s"}
    with (
        host(placement.address, config, name="stops") as here,
        ThreadPoolExecutor(1) as pool,
    ):
        call = pool.submit(here.call, "Stop/1", "slow?seconds=60", timeout=60)
        here.app.wait_report(event="call", actor="Stop/1", method="slow")
        here.sidecar.signal(signal.SIGTERM)
        here.app.wait_report(event="deactivate", actor="Stop/1")
        assert here.sidecar.wait_exit() == 0, "it was not forced"
        here.sidecar.wait_line("Daprd shutdown gracefully")
        assert "leaves this sidecar" in call.result(60).json["message"]
