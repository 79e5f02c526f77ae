"""Signals that end a run, and the one that does not."""

from __future__ import annotations

import os
import signal

import pytest

from dapr_cli.stop_signals import StopSignals


@pytest.mark.parametrize("ignored", [False, True])
async def test_a_run_under_nohup_outlives_its_terminal(ignored: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            await signals.stop.wait()
            if not ignored:
                await signals.hurry.wait()
            assert signals.hurry.is_set() is not ignored
        assert (signal.getsignal(signal.SIGHUP) is signal.SIG_IGN) is ignored
    finally:
        signal.signal(signal.SIGHUP, before)
