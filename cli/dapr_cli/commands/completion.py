"""``dapr completion``: the script a shell sources."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from dapr_cli.session import Verb


@click.command("completion", cls=Verb)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print a completion script for a shell.

    It completes commands, flags, files and the ids of running apps.

    \b
    bash   source <(dapr completion bash)
    zsh    source <(dapr completion zsh)      after compinit
    fish   dapr completion fish | source
    """
    script = get_completion_class(shell)
    assert script is not None, "click knows the three shells"
    root = click.get_current_context().find_root().command
    click.echo(script(root, {}, "dapr", "_DAPR_COMPLETE").source())
