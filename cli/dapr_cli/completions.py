"""What shells complete beyond words of the command line."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def files(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What the shell finds by itself: the words are another program's."""
    return [CompletionItem(incomplete, type="file")]


def directories(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """What the shell finds of directories."""
    return [CompletionItem(incomplete, type="dir")]


def running_app_ids(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The ids of apps that run on this machine."""
    from dapr_cli import instances

    ids = {instance.app_id for instance in instances.running()}
    return sorted(app_id for app_id in ids if app_id.startswith(incomplete))
