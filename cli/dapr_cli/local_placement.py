"""Placement on this machine: there as soon as an app runs, gone a while after the last one.

Nothing is left behind that a reboot would end or that somebody would have to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from dapr_cli import local_sentry, local_service
from dapr_cli.console import Console
from dapr_cli.daprd_command import PLACEMENT_PORT, placement_address
from dapr_cli.install import Install, locate
from dapr_cli.local_sentry import NAMESPACE, TRUST_DOMAIN
from dapr_cli.local_service import HOST, LocalService
from dapr_cli.processes import arguments_of, pids_of
from dapr_cli.settings import RunSettings

_HEALTH_PORT, _METRICS_PORT = 58080, 59090  # where the official CLI publishes them
_IDLE = "30s"
_TLS = "--tls-enabled"
_ENDED_SECONDS, _ENDED_POLL_SECONDS = 10.0, 0.05


def is_wanted(settings: RunSettings) -> bool:
    """Whether the sidecar is to find placement at the place that nobody had to name.

    With mutual TLS only with an authority that this CLI keeps: others' certificates only their
    user can point at.
    """
    if placement_address(settings) != f"localhost:{PLACEMENT_PORT}":
        return False
    return not local_sentry.speaks_mtls(settings) or local_sentry.is_wanted(
        locate(settings.runtime_path), settings
    )


@asynccontextmanager
async def local_placement(
    install: Install, apps: Iterable[RunSettings], console: Console
) -> AsyncIterator[None]:
    """Placement is kept running meanwhile, when one of the apps uses the local one."""
    wanted = [settings for settings in apps if is_wanted(settings)]
    if not wanted:
        yield
        return
    secured = [one for one in wanted if local_sentry.speaks_mtls(one)]
    placement = LocalPlacement(
        install, console, sentry_address=secured[0].sentry_address if secured else ""
    )
    keeping = asyncio.create_task(placement.keep())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})


class LocalPlacement:
    """Started whenever nobody listens on its port; by mutual TLS with a ``sentry_address``."""

    def __init__(
        self,
        install: Install,
        console: Console,
        *,
        port: int = PLACEMENT_PORT,
        idle: str = _IDLE,
        sentry_address: str = "",
    ) -> None:
        self._install = install
        self._secured = bool(sentry_address)
        flags = [
            f"--port={port}",
            f"--listen-address={HOST}",
            f"--exit-when-idle={idle}",
            *(_tls_flags(install, sentry_address) if sentry_address else ()),
        ]
        self._service = LocalService(
            install,
            console,
            name="placement",
            port=port,
            flags=lambda: [*flags, *local_service.side_ports(_HEALTH_PORT, _METRICS_PORT)],
            without="there are no actors",
            environment={"NAMESPACE": NAMESPACE},
        )

    async def keep(self) -> None:
        """Look after it until cancelled; it goes on by itself afterwards."""
        await self._end_other()
        await self._service.keep()

    async def _end_other(self) -> None:
        """One of before 'dapr init --mtls', or of before it was undone, serves nobody any more."""
        for pid in pids_of(self._install.placement):
            if (_TLS in arguments_of(pid)) == self._secured:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ENDED_SECONDS):
                    while pid in pids_of(self._install.placement):  # noqa: ASYNC110 - no child
                        await asyncio.sleep(_ENDED_POLL_SECONDS)


def stop(install: Install) -> bool:
    """End the one that was started from this installation. Returns whether there was one."""
    return local_service.stop(install, "placement")


def _tls_flags(install: Install, sentry_address: str) -> list[str]:
    return [
        _TLS,
        f"--trust-anchors-file={local_sentry.anchors(install)}",
        f"--sentry-address={sentry_address}",
        f"--trust-domain={TRUST_DOMAIN}",
    ]
