"""The scheduler service nobody named: sidecars are told of it when it is there.

The official CLI always names it, since it has started one. A sidecar that is told of a scheduler
waits for it; one that is not keeps reminders in the actor state store.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket

from dapr_cli.daprd_command import SCHEDULER_PORT
from dapr_cli.settings import RunSettings

_HOST = "localhost"
_SECONDS = 0.3


def without_absent_scheduler(settings: RunSettings) -> RunSettings:
    """The same settings; without the default scheduler when nothing listens there."""
    if settings.scheduler_host_address != _HOST or _listens(_HOST, SCHEDULER_PORT):
        return settings
    return dataclasses.replace(settings, scheduler_host_address="")


def _listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), _SECONDS):
        return True
    return False
