"""This machine: its ``daprd`` processes, their files, the services they use."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from dapr_cli import instances
from dapr_cli.install import Install
from dapr_cli.processes import daprd_processes
from dapr_dashboard.certificates import ends_of
from dapr_dashboard.log_lines import nanoseconds
from dapr_dashboard.model import (
    App,
    CertificateFact,
    ControlPlane,
    LogLine,
    Platform,
    Resources,
    ServiceFact,
    SourceError,
)
from dapr_dashboard.sources.manifests import from_files
from dapr_dashboard.sources.processes import app_of, environment
from dapr_dashboard.sources.tail import file_lines, tail

_CONNECT_SECONDS = 2.0
_SERVICES = ("Placement", "Scheduler", "Sentry")
_LOGS = {"app": "appLogPath", "daprd": "daprdLogPath"}


class LocalSource:
    """``install`` is the runtime whose components and configuration are shown beside the apps'."""

    title = "this machine"
    platform: Platform = "standalone"

    def __init__(self, install: Install) -> None:
        self._install = install

    async def apps(self) -> list[App]:
        return await asyncio.to_thread(_apps)

    async def resources(self) -> Resources:
        apps = await self.apps()
        folders = [folder for app in apps for folder in app.resources]
        configurations = [app.configuration for app in apps if app.configuration]
        return await asyncio.to_thread(
            from_files,
            [*folders, str(self._install.components)],
            [*configurations, str(self._install.config)],
        )

    async def control_plane(self) -> ControlPlane:
        apps = await self.apps()
        users: dict[tuple[str, str], list[str]] = {}
        for app in apps:
            for service in _SERVICES:
                for address in filter(None, app.facts.get(service, "").split(",")):
                    users.setdefault((service, address), []).append(app.app_id)
        services = await asyncio.gather(
            *(_service(name, address, ids) for (name, address), ids in users.items())
        )
        certificates = await asyncio.to_thread(self._certificates, apps)
        return ControlPlane(services=services, certificates=certificates)

    def logs(self, app: App) -> tuple[str, ...]:
        extended = app.live.metadata.get("extended")
        if not isinstance(extended, dict):
            return ()
        return tuple(name for name, key in _LOGS.items() if extended.get(key))

    async def log(self, app: App, name: str) -> str:
        return await asyncio.to_thread(tail, _log_path(app, name))

    async def lines(
        self, app: App, name: str, *, last: int, follow: bool
    ) -> AsyncGenerator[LogLine, None]:
        async with aclosing(file_lines(_log_path(app, name), last, follow=follow)) as lines:
            async for line in lines:
                yield LogLine(line, nanoseconds(line))

    async def close(self) -> None:
        """Nothing is kept open."""

    def _certificates(self, apps: Iterable[App]) -> list[CertificateFact]:
        folder = self._install.root / "certs"
        found: list[CertificateFact] = []
        for name, file in (("Root certificate", "ca.crt"), ("Issuer certificate", "issuer.crt")):
            with contextlib.suppress(OSError):
                found += ends_of(name, str(folder / file), (folder / file).read_bytes())
        for app in apps:
            anchors = environment(int(app.name)).get("DAPR_TRUST_ANCHORS", "")
            found += ends_of("Trust anchor", f"given to {app.app_id}", anchors.encode())
        return found


def _log_path(app: App, name: str) -> str:
    extended = app.live.metadata.get("extended")
    path = str(extended.get(_LOGS.get(name, ""), "")) if isinstance(extended, dict) else ""
    if not path:
        raise SourceError(
            "this app has no log file: 'dapr run' writes to its terminal, "
            "'dapr run -f' writes files"
        )
    return path


def _apps() -> list[App]:
    token = os.environ.get("DAPR_API_TOKEN", "")
    processes = {process.pid: process for process in daprd_processes()}
    return [
        app_of(instance, processes[instance.daprd_pid], token)
        for instance in instances.running()
        if instance.daprd_pid in processes
    ]


async def _service(name: str, address: str, users: list[str]) -> ServiceFact:
    reached = await _connects(address)
    who = ", ".join(sorted(set(users)))
    return ServiceFact(
        name=name,
        place=address,
        health="good" if reached else "bad",
        state=f"{'answers' if reached else 'does not answer'}; used by {who}",
    )


async def _connects(address: str) -> bool:
    host, _, port = address.removeprefix("dns:///").rpartition(":")
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, ValueError, OverflowError):
        return False
    writer.close()
    return True
