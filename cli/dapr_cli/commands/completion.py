"""``dapr completion``: the script a shell sources."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from dapr_cli.session import Verb


@click.command("completion", cls=Verb)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print a completion script for a shell.

    For example: source <(dapr completion bash)
    """
    script = get_completion_class(shell)
    assert script is not None, "click knows the three shells"
    root = click.get_current_context().find_root().command
    click.echo(script(root, {}, "dapr", "_DAPR_COMPLETE").source())
