"""``dapr upgrade``: another version of the control plane, with its settings and its authority."""

from __future__ import annotations

import click

from dapr_cli.cluster_setup import chart_options, image_values
from dapr_cli.errors import CliError
from dapr_cli.session import Verb, kubernetes_option, session


@click.command("upgrade", cls=Verb)
@click.option(
    "--runtime-version",
    metavar="VERSION",
    default="",
    help="The tag of the images.  [default: that of the chart, which comes with this CLI]",
)
@chart_options
@kubernetes_option
def upgrade_command(
    kubernetes: bool,
    runtime_version: str,
    sets: tuple[str, ...],
    image_registry: str,
    timeout: int,
) -> None:
    """Upgrade Dapr in a Kubernetes cluster.

    Brings Dapr's kinds, then the Helm release to the version of this CLI. What the release was
    given before is given again, and the certificate authority stays as it is.
    """
    if not kubernetes:
        raise CliError(
            "dapr upgrade works on a Kubernetes cluster only: say -k",
            "On this machine the runtime comes with the CLI: upgrade that, then 'dapr init'.",
        )
    from dapr_cli.kube import control_plane
    from dapr_cli.kube.cluster import on_cluster

    values = image_values(runtime_version, image_registry)
    wanted = control_plane.Wanted(namespace="", values=values, sets=sets, seconds=timeout)
    console = session().console
    on_cluster(lambda client: control_plane.upgrade(client, wanted, console))
