"""``dapr build-info``: versions and commits of the CLI and the runtime."""

from __future__ import annotations

import click

from dapr_cli.commands.version import cli_version
from dapr_cli.install import ask_daprd
from dapr_cli.session import Verb, session


@click.command("build-info", cls=Verb)
def build_info_command() -> None:
    """Print build information of the CLI and the runtime."""
    runtime = ask_daprd(session().install, "--build-info")
    click.echo(f"CLI:\n\tVersion: {cli_version()}\n\tGit Commit: n/a\nRuntime:")
    click.echo("\n".join(f"\t{line}" for line in runtime.splitlines()))
