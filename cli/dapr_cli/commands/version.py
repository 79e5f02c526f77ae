"""``dapr version``: of the CLI and of the runtime it would start."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version

import click

from dapr_cli.install import Install, ask_daprd
from dapr_cli.session import Verb, session

_DISTRIBUTION = "dapr-runtime"


@dataclass(frozen=True, slots=True)
class Versions:
    """What the command prints."""

    cli: str
    runtime: str

    def text(self) -> str:
        return f"CLI version: {self.cli} \nRuntime version: {self.runtime}"

    def json(self) -> str:
        return json.dumps(
            {"Cli version": self.cli, "Runtime version": self.runtime}, separators=(",", ":")
        )


def versions(install: Install) -> Versions:
    """Ask the package and ``daprd``."""
    return Versions(cli_version(), ask_daprd(install, "--version"))


def cli_version() -> str:
    """The version of this distribution."""
    return version(_DISTRIBUTION)


@click.command("version", cls=Verb)
@click.option("-o", "--output", type=click.Choice(["json"]), help="Print JSON instead of text.")
def version_command(output: str | None) -> None:
    """Print the versions of the CLI and the runtime."""
    found = versions(session().install)
    click.echo(found.json() if output else found.text())
