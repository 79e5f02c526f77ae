"""Sentry on this machine, after ``dapr init --mtls``: there as long as an app needs it.

Sidecars ask it for a certificate at their start and half-way through its life. The last
``dapr run`` that needs it ends it; one that is killed leaves it to the next.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from dapr_cli import instances, local_service
from dapr_cli.authority_files import CA, load
from dapr_cli.console import Console
from dapr_cli.daprd_command import wants_mtls
from dapr_cli.errors import CliError
from dapr_cli.install import Install, locate
from dapr_cli.local_service import HOST, LocalService
from dapr_cli.port_holders import holder
from dapr_cli.presented import presented
from dapr_cli.processes import pids_of
from dapr_cli.settings import RunSettings
from dapr_common.security.authority import CaBundle

TRUST_DOMAIN, NAMESPACE = "localhost", "default"  # what a sidecar takes for granted
ANCHORS_VARIABLE = "DAPR_TRUST_ANCHORS"
_ANY = 0  # nobody looks for its health and metrics at a certain place
_TAKEOVER_SECONDS, _TAKEOVER_POLL_SECONDS = 15.0, 0.2
_HERE = frozenset({"localhost", HOST})


def speaks_mtls(settings: RunSettings) -> bool:
    """Whether its configuration turns mutual TLS on. Raises ``CliError``."""
    return bool(settings.config) and wants_mtls(Path(settings.config))


def is_wanted(install: Install, settings: RunSettings) -> bool:
    """Whether the app needs the sentry that this CLI keeps."""
    return (
        port_here(settings.sentry_address) > 0
        and anchors(install).is_file()
        and speaks_mtls(settings)
    )


def anchors(install: Install) -> Path:
    """What everybody of this installation trusts."""
    return install.certs / CA


def trust_anchors(settings: RunSettings) -> dict[str, str]:
    """What a sidecar finds in its environment, unless the user has given others.

    Raises ``CliError``.
    """
    file = anchors(locate(settings.runtime_path))
    given = settings.env.get(ANCHORS_VARIABLE) or os.environ.get(ANCHORS_VARIABLE)
    if given or not file.is_file() or not speaks_mtls(settings):
        return {}
    try:
        return {ANCHORS_VARIABLE: file.read_text(encoding="ascii")}
    except (OSError, ValueError) as error:
        raise CliError(f"{file} cannot be read: {error}", "'dapr check' says more.") from error


def port_here(address: str) -> int:
    """The port of an address on this machine; 0 for another machine's."""
    host, _, port = address.rpartition(":")
    return int(port) if host in _HERE and port.isdigit() else 0


@asynccontextmanager
async def local_sentry(
    install: Install, apps: Iterable[RunSettings], console: Console
) -> AsyncIterator[None]:
    """Sentry is up and kept so meanwhile, when one of the apps needs it. Raises ``CliError``."""
    wanted = [settings for settings in apps if is_wanted(install, settings)]
    if not wanted:
        yield
        return
    sentry = LocalSentry(install, console, address=wanted[0].sentry_address)
    keeping = asyncio.create_task(sentry.keep())
    try:
        await sentry.is_up()
        await asyncio.to_thread(_require_own, install, sentry.port)
        yield
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})
        if not _has_others(port_here(wanted[0].sentry_address)):
            stop(install)


def _require_own(install: Install, port: int) -> None:
    """Who listens there must sign with the authority of this installation. Raises ``CliError``."""
    authority = load(install.certs)
    until = time.monotonic() + _TAKEOVER_SECONDS
    while (found := presented(port)) is None or not _is_signed_by(authority, found):
        if not pids_of(install.sentry) or time.monotonic() > until:
            who = holder(port)
            raise CliError(
                f"port {port} is used by a program that is not this installation's sentry"
                f"{f' ({who})' if who else ''}",
                "Stop it, or choose another port: --sentry-address localhost:PORT",
            )
        time.sleep(_TAKEOVER_POLL_SECONDS)  # a renewal a moment ago, which it takes over


def _is_signed_by(authority: CaBundle, leaf: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority.issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _has_others(port: int) -> bool:
    """Whether a sidecar of this machine may still ask the sentry on a port."""
    found = instances.running()
    return any(one.mtls and port_here(one.sentry_address) == port for one in found)


class LocalSentry(LocalService):
    """Signs for the apps of this machine with the authority in ``.dapr/certs``."""

    def __init__(self, install: Install, console: Console, *, address: str) -> None:
        self.port = port = port_here(address)
        flags = [
            f"--config={install.config}",
            f"--issuer-credentials={install.certs}",
            f"--trust-domain={TRUST_DOMAIN}",
            f"--port={port}",
            f"--listen-address={HOST}",
        ]
        super().__init__(
            install,
            console,
            name="sentry",
            port=port,
            flags=lambda: [*flags, *local_service.side_ports(_ANY, _ANY)],
            without="nobody gets a certificate",
            environment={"NAMESPACE": NAMESPACE},
        )


def stop(install: Install) -> bool:
    """End the one that was started from this installation. Returns whether there was one."""
    return local_service.stop(install, "sentry")
