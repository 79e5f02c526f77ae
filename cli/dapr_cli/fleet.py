"""``dapr run -f``: every application of a run file with its sidecar, until a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from dapr_cli import output
from dapr_cli.child import Child, ending
from dapr_cli.console import Console
from dapr_cli.install import find_daprd, locate
from dapr_cli.local_placement import local_placement
from dapr_cli.local_sentry import local_sentry
from dapr_cli.pair import Pair
from dapr_cli.run_file import RunFile
from dapr_cli.settings import RunSettings
from dapr_cli.single import announce
from dapr_cli.stop_signals import StopSignals


async def run_all(file: RunFile, apps: Sequence[RunSettings], console: Console) -> int:
    """Run the apps, whose ports are decided; the exit code. Raises ``CliError``."""
    fleet = Fleet(file, console)
    async with contextlib.AsyncExitStack() as stack:
        for path in dict.fromkeys(app.runtime_path for app in apps):
            its = [app for app in apps if app.runtime_path == path]
            await stack.enter_async_context(local_sentry(locate(path), its, console))
            await stack.enter_async_context(local_placement(locate(path), its, console))
        return await _until_stopped(fleet, apps, console)


async def _until_stopped(fleet: Fleet, apps: Sequence[RunSettings], console: Console) -> int:
    with StopSignals() as signals:
        try:
            if await signals.unless_stopped(fleet.start(apps)):
                console.success(
                    "You're up and running! The apps' lines appear here, Ctrl-C stops everything."
                )
                await signals.stop.wait()
        finally:
            await fleet.stop(signals.hurry)
    return 1 if fleet.failed else 0


class Fleet:
    """The pairs of a run file. An app that ends is reported; the others go on."""

    def __init__(self, file: RunFile, console: Console) -> None:
        self._file = file
        self._console = console
        self._pairs: list[Pair] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._stamp = output.log_stamp(datetime.now(UTC).astimezone())

    @property
    def failed(self) -> bool:
        """Whether any app or sidecar ended by itself with an error."""
        return any(pair.failed for pair in self._pairs)

    async def start(self, apps: Sequence[RunSettings]) -> None:
        """Start one after another. Raises ``CliError`` at the first that cannot be started."""
        for number, settings in enumerate(apps):
            pair = self._pair(settings, number)
            self._pairs.append(pair)
            announce(settings, self._console)
            await pair.start(_sidecar_environment())
            for child in (pair.sidecar, pair.app):
                if child is None:
                    continue
                self._watchers.append(asyncio.create_task(self._watch(child)))
                if child.output.file is not None:
                    self._console.info(f"{child.title} writes to {child.output.file}")
            await pair.tell_sidecar(self._facts(pair))

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stop all of them at once; ``hurry`` kills what has not ended yet."""
        for watcher in self._watchers:
            watcher.cancel()
        self._console.info("Stopping the apps and their sidecars; another signal does not wait")
        await asyncio.gather(*(pair.stop(hurry) for pair in self._pairs))
        self._console.success("Everything is stopped")

    def _pair(self, settings: RunSettings, number: int) -> Pair:
        app_output, daprd_output = output.of_app(settings, number, self._stamp)
        return Pair(
            settings,
            find_daprd(locate(settings.runtime_path)),
            self._console,
            app_output=app_output,
            daprd_output=daprd_output,
        )

    def _facts(self, pair: Pair) -> dict[str, str]:
        app_log = pair.app.output.file if pair.app else None
        return {
            "runTemplatePath": self._file.path,
            "runTemplateName": self._file.name,
            "appLogPath": str(app_log or ""),
            "daprdLogPath": str(pair.sidecar.output.file or ""),
        }

    async def _watch(self, child: Child) -> None:
        await child.wait()
        say = self._console.info if child.exit_code == 0 else self._console.failure
        say(f"{child.title} ended with {ending(child.exit_code)}")


def _sidecar_environment() -> Mapping[str, str]:
    # The apps of one file are on this machine; any other address may be unreachable from it.
    return {"DAPR_HOST_IP": os.environ.get("DAPR_HOST_IP") or "127.0.0.1"}
