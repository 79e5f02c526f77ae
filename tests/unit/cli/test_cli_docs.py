"""``docs/cli.md`` names every command, and no flag that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from dapr_cli.__main__ import VERBS, root

TEXT = (Path(__file__).parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")
OF_OTHERS = {"--help", "--no-index", "--find-links", "--without-pip"}  # pip's and venv's


def flags(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        yield from parameter.opts
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from flags(found)


def test_every_command_is_named() -> None:
    assert [verb for verb in VERBS if f"`dapr {verb}" not in TEXT] == []


def test_every_flag_exists() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT)) - OF_OTHERS
    assert named - set(flags(root())) == set()
