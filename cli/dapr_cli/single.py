"""``dapr run`` of one application: until it, its sidecar or the user ends it."""

from __future__ import annotations

from dapr_cli.child import ending
from dapr_cli.console import Console
from dapr_cli.install import find_daprd, locate
from dapr_cli.local_placement import local_placement
from dapr_cli.local_sentry import local_sentry
from dapr_cli.output import Output
from dapr_cli.pair import Pair
from dapr_cli.settings import RunSettings
from dapr_cli.stop_signals import StopSignals


async def run_one(settings: RunSettings, console: Console) -> int:
    """Run an app and its sidecar, both on this terminal; the exit code."""
    install = locate(settings.runtime_path)
    pair = Pair(
        settings,
        find_daprd(install),
        console,
        app_output=Output(),
        daprd_output=Output(),
    )
    announce(settings, console)
    async with (
        local_sentry(install, [settings], console),
        local_placement(install, [settings], console),
    ):
        return await _until_ended(pair, console)


async def _until_ended(pair: Pair, console: Console) -> int:
    with StopSignals() as signals:
        try:
            if await signals.unless_stopped(_start(pair, console)):
                await signals.unless_stopped(pair.first_end())
            _say_ended(pair, console)
            if signals.stop.is_set():
                console.info("Stopping; a second signal does not wait")
        finally:
            await pair.stop(signals.hurry)
    if not pair.failed:
        console.success("Exited Dapr and the app successfully" if pair.app else "Exited Dapr")
    return 1 if pair.failed else 0


def announce(settings: RunSettings, console: Console) -> None:
    """Say what is being started, and where it will listen."""
    console.info(
        f"Starting Dapr with id {settings.app_id}. HTTP Port: {settings.http_port}. "
        f"gRPC Port: {settings.grpc_port}"
    )


async def _start(pair: Pair, console: Console) -> None:
    await pair.start({})
    await pair.tell_sidecar({})
    logs = "Both Dapr and your app logs" if pair.app else "Dapr logs"
    console.success(f"You're up and running! {logs} will appear here.")
    if pair.settings.ready_line:
        await pair.say_ready()


def _say_ended(pair: Pair, console: Console) -> None:
    for child in (pair.app, pair.sidecar):
        if child is not None and child.exit_code is not None:
            say = console.info if child.exit_code == 0 else console.failure
            say(f"{child.title} ended with {ending(child.exit_code)}")
