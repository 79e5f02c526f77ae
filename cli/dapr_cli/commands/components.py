"""``dapr components``: the Components of a cluster."""

from __future__ import annotations

import click

from dapr_cli.cluster_resources import resource_options, show_resources
from dapr_cli.session import Verb


@click.command("components", cls=Verb)
@resource_options
def components_command(name: str, namespace: str, output: str) -> None:
    """List the components in your Kubernetes cluster."""
    show_resources("components", name, namespace, output)
