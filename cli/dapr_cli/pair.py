"""One application and its sidecar: started in order, watched, stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from dapr_cli.child import Child, ending
from dapr_cli.console import Console
from dapr_cli.daprd_command import app_environment, daprd_command, host_environment
from dapr_cli.errors import CliError
from dapr_cli.local_scheduler import without_absent_scheduler
from dapr_cli.local_sentry import trust_anchors
from dapr_cli.output import Output
from dapr_cli.settings import RunSettings
from dapr_cli.sidecar_client import SidecarClient, SidecarError, socket_path

_READY_SECONDS = 60.0
_READY_POLL_SECONDS = 0.05
_METADATA_TRIES = 5
_METADATA_PAUSE_SECONDS = 0.2
APP_GRACE_SECONDS = 5.0
SIDECAR_GRACE_SECONDS = 15.0  # its own grace period of 5 s, and 10 s for open requests


class Pair:
    """Every port in ``settings`` is decided; without a command there is only a sidecar."""

    def __init__(
        self,
        settings: RunSettings,
        daprd: Path,
        console: Console,
        *,
        app_output: Output,
        daprd_output: Output,
    ) -> None:
        self.settings = settings
        self._console = console
        token = settings.env.get("DAPR_API_TOKEN") or os.environ.get("DAPR_API_TOKEN", "")
        self._client = SidecarClient(
            settings.http_port, socket_path(settings.unix_domain_socket, settings.app_id), token
        )
        app_id = settings.app_id
        command = daprd_command(daprd, without_absent_scheduler(settings))
        self.sidecar = Child(f"the sidecar of {app_id}", command, daprd_output)
        self.app = (
            Child(f"the app {app_id}", settings.command, app_output) if settings.command else None
        )

    @property
    def failed(self) -> bool:
        """Whether the app or the sidecar ended by itself with an error."""
        return self.sidecar.failed or (self.app is not None and self.app.failed)

    async def start(self, sidecar_environment: Mapping[str, str]) -> None:
        """Start both, the app once the sidecar serves. Raises ``CliError``."""
        environment = {
            **host_environment(),
            **trust_anchors(self.settings),
            **sidecar_environment,
        }
        await self.sidecar.start(environment, self.settings.app_dir)
        await self._wait_for_sidecar()
        if self.app is not None:
            await self.app.start(app_environment(self.settings), self.settings.app_dir)

    async def tell_sidecar(self, extended: Mapping[str, str]) -> None:
        """Store facts about this run in the sidecar, where ``dapr list`` finds them."""
        known = {"cliPID": str(os.getpid()), **extended}
        if self.app is not None:
            known["appPID"] = str(self.app.pid)
            known["appCommand"] = " ".join(self.settings.command)
        try:
            for key, value in known.items():
                if value:
                    await self._tell(key, value)
        except SidecarError as error:
            self._console.warning(
                f"The sidecar of {self.settings.app_id} does not take its metadata, "
                f"'dapr list' will know less: {error}"
            )

    async def say_ready(self) -> None:
        """Print what programs wait for, once everything is up; nothing when one ended before."""
        children = [child for child in (self.app, self.sidecar) if child is not None]
        while not await asyncio.to_thread(self._client.is_ready, with_app=True):
            if any(child.exit_code is not None for child in children):
                return
            await asyncio.sleep(_READY_POLL_SECONDS)
        facts = {
            "appId": self.settings.app_id,
            "httpPort": self.settings.http_port,
            "grpcPort": self.settings.grpc_port,
            "metricsPort": self.settings.metrics_port,
            "appPort": max(self.settings.app_port, 0),
            "pid": os.getpid(),
        }
        print(f"DAPR_READY {json.dumps(facts, separators=(',', ':'))}", flush=True)  # noqa: T201 - for programs

    async def first_end(self) -> Child:
        """Wait until the app or the sidecar ends; returns which."""
        children = [child for child in (self.app, self.sidecar) if child is not None]
        tasks = {asyncio.create_task(child.wait()): child for child in children}
        try:
            done, _ = await asyncio.wait(tasks, return_when="FIRST_COMPLETED")
            return next(child for task, child in tasks.items() if task in done)
        finally:
            for task in tasks:
                task.cancel()

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stop the app, which may still need its sidecar meanwhile, then the sidecar."""
        for child, seconds in (
            (self.app, APP_GRACE_SECONDS),
            (self.sidecar, SIDECAR_GRACE_SECONDS),
        ):
            if child is not None and not await child.stop(seconds, hurry):
                self._console.warning(f"{child.title} did not end when asked to and was killed")
        for protocol in ("http", "grpc"):
            path = socket_path(self.settings.unix_domain_socket, self.settings.app_id, protocol)
            if path:
                with contextlib.suppress(OSError):
                    os.unlink(path)  # noqa: PTH108 - a killed sidecar leaves it behind

    async def _wait_for_sidecar(self) -> None:
        until = asyncio.get_running_loop().time() + _READY_SECONDS
        while not await asyncio.to_thread(self._client.is_ready):
            if self.sidecar.exit_code is not None:
                raise CliError(
                    f"the sidecar of {self.settings.app_id} ended at its start with "
                    f"{ending(self.sidecar.exit_code)}",
                    self._where_to_look(),
                )
            if asyncio.get_running_loop().time() > until:
                self._console.warning(
                    f"The sidecar of {self.settings.app_id} does not serve after "
                    f"{_READY_SECONDS:.0f} s at {self._client.target}, going on without it"
                )
                return
            await asyncio.sleep(_READY_POLL_SECONDS)

    def _where_to_look(self) -> str:
        file = self.sidecar.output.file
        return f"Its log is {file}." if file else "Its lines above say why."

    async def _tell(self, key: str, value: str) -> None:
        for attempt in range(1, _METADATA_TRIES + 1):
            try:
                await asyncio.to_thread(self._client.set_metadata, key, value)
                return
            except SidecarError:
                if attempt == _METADATA_TRIES or self.sidecar.exit_code is not None:
                    raise
                await asyncio.sleep(_METADATA_PAUSE_SECONDS)
