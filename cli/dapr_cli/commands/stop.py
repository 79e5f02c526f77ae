"""``dapr stop``: end running apps, by their ids or by their run file."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Sequence

import click

from dapr_cli import instances
from dapr_cli.completions import running_app_ids
from dapr_cli.console import Console
from dapr_cli.errors import CliError
from dapr_cli.instances import Instance
from dapr_cli.processes import is_alive
from dapr_cli.run_file import read, run_file_path
from dapr_cli.session import Verb, kubernetes_option, session

_PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.05


@click.command("stop", cls=Verb)
@click.argument("ids", nargs=-1, metavar="[APP_ID]...", shell_complete=running_app_ids)
@click.option(
    "-a",
    "--app-id",
    "named",
    multiple=True,
    shell_complete=running_app_ids,
    help="An app to stop; may be repeated.",
)
@click.option(
    "-f",
    "--run-file",
    metavar="FILE|DIR",
    type=click.Path(),
    help="Stop everything this file started.",
)
@kubernetes_option
def stop_command(
    ids: tuple[str, ...], named: tuple[str, ...], run_file: str | None, kubernetes: bool
) -> None:
    """Stop running apps and their sidecars, and wait for their end.

    With -k: delete what 'dapr run -k' made for the apps of a run file in your cluster.

    What cannot be stopped is reported; the exit code is 0, as with the official CLI.
    """
    console = session().console
    wanted = list(dict.fromkeys((*ids, *named)))
    if bool(run_file) == bool(wanted):
        raise click.UsageError("say what to stop: either app ids or --run-file FILE")
    if kubernetes:
        if not run_file:
            raise click.UsageError("-k stops the apps of a run file: give --run-file FILE")
        _stop_in_cluster(run_file, console)
    elif run_file:
        _stop_file(run_file, console)
    else:
        running = instances.running()
        for app_id in wanted:
            _stop_app(app_id, running, console)


def _stop_app(app_id: str, running: Sequence[Instance], console: Console) -> None:
    found = instances.asked([each for each in running if each.app_id == app_id])
    if not found:
        console.failure(f"failed to stop app id {app_id}: couldn't find app id {app_id}")
        return
    try:
        for instance in found:
            os.kill(process_to_signal(instance, running), signal.SIGTERM)
    except ProcessLookupError:
        pass  # it has just ended
    except OSError as error:
        console.failure(f"failed to stop app id {app_id}: {error}")
        return
    if left := _wait_gone(instance.daprd_pid for instance in found):
        console.failure(
            f"failed to stop app id {app_id}: daprd is still running, process {left[0]}; "
            f"'kill -9 {left[0]}' ends it"
        )
    else:
        console.success(f"app stopped successfully: {app_id}")


def process_to_signal(instance: Instance, running: Sequence[Instance]) -> int:
    """The CLI that runs an instance, or its ``daprd`` when that CLI is gone or runs several."""
    cli = instance.cli_pid
    shared = sum(other.parent_pid == cli for other in running) > 1
    if shared or cli != instance.parent_pid:  # a pid whose child daprd is not may be anybody's
        return instance.daprd_pid
    return cli


def _stop_file(given: str, console: Console) -> None:
    try:
        path = str(run_file_path(given))
    except CliError as error:
        console.failure(f"failed to stop the apps of {given}: {error.message}")
        return
    found = [
        each for each in instances.asked(instances.running()) if each.run_template_path == path
    ]
    if not found:
        console.failure(f"failed to stop the apps of {path}: none of them is running")
        return
    leaders = {
        each.cli_pid if each.cli_pid == each.parent_pid else each.daprd_pid for each in found
    }
    for leader in leaders:
        _signal(leader, signal.SIGTERM)
    sidecars = [instance.daprd_pid for instance in found]
    if left := _wait_gone((*leaders, *sidecars)):
        for pid in left:
            _signal(pid, signal.SIGKILL)
        console.warning("Some processes had to be killed")
    console.success(f"apps stopped successfully: {', '.join(each.app_id for each in found)}")


def _stop_in_cluster(given: str, console: Console) -> None:
    from dapr_cli.kube.runs.command import stop_file

    try:
        file = read(given, session().runtime_path)
    except CliError as error:
        console.failure(f"failed to stop the apps of {given}: {error.message}")
        return
    stop_file(file, console)


def _signal(pid: int, number: signal.Signals) -> None:
    """To the process's group when it leads one, else to it alone."""
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)


def _wait_gone(pids: Iterable[int]) -> list[int]:
    """Wait for the end of processes; those that are still there after the time allowed."""
    left = list(pids)
    until = time.monotonic() + _PATIENCE_SECONDS
    while (left := [pid for pid in left if is_alive(pid)]) and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
    return left
