"""``dapr uninstall``: remove the runtime, with ``--all`` everything of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from dapr_cli import instances
from dapr_cli.console import Console
from dapr_cli.session import Verb, kubernetes_option, session


@click.command("uninstall", cls=Verb)
@click.option("--all", "everything", is_flag=True, help="Also configuration, components and data.")
@kubernetes_option
def uninstall_command(everything: bool) -> None:
    """Remove the runtime from this machine.

    Takes .dapr/bin away; with --all the whole .dapr directory and what the embedded components
    stored there.
    """
    console, install = session().console, session().install
    if running := instances.running():
        names = ", ".join(sorted({instance.app_id for instance in running}))
        console.warning(f"Sidecars are running and go on until they are stopped: {names}")
    _remove(install.bin, console)
    if everything:
        _remove(install.root, console)
    elif install.root.exists():
        console.info(f"Configuration, components and data stay in {install.root} (see --all)")


def _remove(directory: Path, console: Console) -> None:
    if not directory.exists():
        console.warning(f"{directory} does not exist")
        return
    try:
        shutil.rmtree(directory)
    except OSError as error:
        console.failure(f"{directory} cannot be removed: {error}")
    else:
        console.success(f"{directory} is removed")
