"""``dapr status``: how the control plane in a cluster is."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from dapr_cli import render
from dapr_cli.errors import CliError
from dapr_cli.session import Verb, kubernetes_only_option, output_option


@click.command("status", cls=Verb)
@kubernetes_only_option
@output_option
def status_command(output: str) -> None:
    """Show how the control plane in your Kubernetes cluster is."""
    from dapr_cli.kube.cluster import on_cluster
    from dapr_cli.kube.pods import service_selector, status_record, status_rows
    from dapr_common.kube.kinds import PODS, Selection

    wanted = Selection(PODS, labels=service_selector())
    found = on_cluster(lambda client: client.list_all(wanted)).items
    if not found:
        raise CliError("No status returned. Is Dapr initialized in your cluster?")
    rows = status_rows(found, datetime.now(UTC))
    if output == "table":
        click.echo(render.table(rows))
    else:
        render.show([status_record(row) for row in rows], output)
