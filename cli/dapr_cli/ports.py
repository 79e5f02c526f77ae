"""Ports for sidecars: given ones must be free, the others are chosen."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import replace

from dapr_cli.errors import CliError
from dapr_cli.settings import RunSettings

_TRIES = 100


class PortChooser:
    """Remembers what it gave away, so that sidecars started together do not collide."""

    def __init__(self, taken: Iterable[int] = ()) -> None:
        self._taken = set(taken)

    def settle(self, settings: RunSettings) -> RunSettings:
        """The same settings with every port decided. Raises ``CliError``."""
        return replace(
            settings,
            app_port=max(settings.app_port, 0),
            http_port=self._take("HTTPPort", settings.http_port),
            grpc_port=self._take("GRPCPort", settings.grpc_port),
            internal_grpc_port=self._take("InternalGRPCPort", settings.internal_grpc_port),
            metrics_port=self._take("MetricsPort", settings.metrics_port),
            profile_port=self._take("ProfilePort", settings.profile_port)
            if settings.enable_profiling or settings.profile_port > 0
            else -1,
        )

    def _take(self, name: str, wanted: int) -> int:
        if wanted > 0:
            if wanted > 65535 or wanted in self._taken or not is_free(wanted):
                raise CliError(
                    f"invalid configuration for {name}. Port {wanted} is not available",
                    "'dapr list' shows the running sidecars and their ports.",
                )
            self._taken.add(wanted)
            return wanted
        for _ in range(_TRIES):
            if (port := _any_port()) not in self._taken:
                self._taken.add(port)
                return port
        raise CliError(f"no free port was found for {name}")


def is_free(port: int) -> bool:
    """Whether a server could listen on this TCP port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port
