"""``dapr mcpservers``: the MCP servers that resource files name, or a cluster knows."""

from __future__ import annotations

from pathlib import Path

import click

from dapr_cli.cluster_resources import listing_options, show_objects, show_resources
from dapr_cli.errors import CliError
from dapr_cli.session import Verb, kubernetes_option, session, warn_of_unused

_PLURAL = "mcpservers"


@click.command("mcpservers", cls=Verb)
@listing_options
@click.option(
    "--resources-path",
    "directories",
    metavar="DIR",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Directory of resource files; may be repeated.  [default: .dapr/components]",
)
@kubernetes_option
def mcpservers_command(
    kubernetes: bool, name: str, namespace: str, output: str, directories: tuple[Path, ...]
) -> None:
    """List MCP servers, of resource files or with -k of a cluster.

    They are for apps with sidecars of the original Dapr: the sidecar of this product does not
    use them.
    """
    if kubernetes:
        if directories:
            raise click.UsageError("--resources-path is of this machine: leave it out with -k")
        show_resources(_PLURAL, name, namespace, output)
        return
    from dapr_cli.resource_files import objects

    warn_of_unused(["namespace"])
    places = directories or (session().install.components,)
    if missing := [str(place) for place in places if not place.is_dir()]:
        hint = "Name another one with --resources-path, or say -k for those of your cluster."
        raise CliError(f"the resources path {missing[0]} is not a directory", hint)
    show_objects(_PLURAL, objects("MCPServer", places), name, output)
