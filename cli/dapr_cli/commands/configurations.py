"""``dapr configurations``: the Configurations of a cluster."""

from __future__ import annotations

import click

from dapr_cli.cluster_resources import resource_options, show_resources
from dapr_cli.session import Verb


@click.command("configurations", cls=Verb)
@resource_options
def configurations_command(name: str, namespace: str, output: str) -> None:
    """List the configurations in your Kubernetes cluster."""
    show_resources("configurations", name, namespace, output)
