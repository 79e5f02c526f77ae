"""``dapr upgrade``: another version of the control plane, with its settings and its authority."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from dapr_cli.cluster_setup import chart_options, wanted_images
from dapr_cli.errors import CliError
from dapr_cli.session import Verb, kubernetes_option, session


@click.command("upgrade", cls=Verb)
@click.option(
    "--runtime-version",
    metavar="VERSION",
    default="",
    help="The tag of the images.  [default: that of the chart, which comes with this CLI]",
)
@click.option(
    "--from-dir",
    metavar="DIR",
    type=click.Path(exists=True, path_type=Path),
    help="To the version of the unpacked archive of 'dapr bundle create', without any network.",
)
@chart_options
@kubernetes_option
def upgrade_command(
    kubernetes: bool,
    runtime_version: str,
    from_dir: Path | None,
    sets: tuple[str, ...],
    image_registry: str,
    registry_ca: Path | None,
    registry_plain_http: bool,
    timeout: int,
) -> None:
    """Upgrade Dapr in a Kubernetes cluster.

    Brings Dapr's kinds, then the Helm release to the version of this CLI. What the release was
    given before is given again, and the certificate authority stays as it is.

    With --from-dir to the version of a bundle, whose files are all checked before. Its images are
    pushed to the registry that --image-registry names; without, the command says how they get
    into the cluster.
    """
    if not kubernetes:
        raise CliError(
            "dapr upgrade works on a Kubernetes cluster only: say -k",
            "On this machine the runtime comes with the CLI: upgrade that, then 'dapr init'.",
        )
    from dapr_cli.kube import control_plane
    from dapr_cli.kube.cluster import on_cluster

    wanted = replace(
        wanted_images(
            runtime_version, image_registry, registry_ca, registry_plain_http, from_dir, sets
        ),
        seconds=timeout,
    )
    console = session().console
    on_cluster(lambda client: control_plane.upgrade(client, wanted, console))
