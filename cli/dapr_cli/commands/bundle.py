"""``dapr bundle``: all of an installation in one archive, for machines without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dapr_cli.cluster_setup import registry_options
from dapr_cli.errors import CliError
from dapr_cli.session import Verb, global_options, session

if TYPE_CHECKING:
    from dapr_cli.bundle.manifest import Manifest
    from dapr_cli.console import Console


def _seconds_option(text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--timeout",
        metavar="SECONDS",
        type=click.IntRange(min=1),
        default=1800,
        show_default=True,
        help=text,
    )


@click.group(
    "bundle",
    params=global_options(),
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
)
@click.pass_context
def bundle_command(ctx: click.Context) -> None:
    """Pack Dapr for machines that have no network.

    \b
    dapr bundle create                     here, with a network
    dapr init --from-dir DIR               there, with the unpacked archive
    dapr init -k --from-dir DIR            there, into a cluster
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@bundle_command.command("create", cls=Verb)
@click.option(
    "-o",
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The archive.  [default: dapr-bundle-VERSION-PLATFORM-PYTHON.tar.gz, here]",
)
@click.option(
    "--source",
    metavar="DIR|WHEEL",
    type=click.Path(exists=True, path_type=Path),
    help="Where the product is built from.  [default: what this command belongs to]",
)
@click.option(
    "--extras",
    metavar="NAMES",
    default="all",
    show_default=True,
    help="Which parts are packed, comma separated, such as cli,sidecar,sentry,placement.",
)
@click.option(
    "--images",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Also the container images of this folder in OCI's layout ('make images' makes one).",
)
@_seconds_option("How long one step may take.")
def create_command(
    out: Path | None, source: Path | None, extras: str, images: Path | None, timeout: int
) -> None:
    """Make an archive of the runtime, all it needs, and the chart.

    It is for machines with the same platform and version of Python as this one, and holds wheels,
    the Helm chart, a manifest with versions, and a SHA-256 of every file. pip fetches the wheels
    with its own settings; versions are those that were tested.
    """
    from dapr_cli.bundle.making import create, default_name
    from dapr_cli.bundle.manifest import megabytes

    console = session().console
    target = out or Path(f"{default_name()}.tar.gz")
    manifest = create(target, console, source=source, extras=extras, images=images, seconds=timeout)
    size = megabytes(target.stat().st_size)
    console.success(f"{target}: {len(manifest.files)} files, {size}")
    console.info("There: unpack it with tar -xzf, its README.md says how to go on")


@bundle_command.command("verify", cls=Verb)
@click.argument("directory", type=click.Path(exists=True, path_type=Path))
def verify_command(directory: Path) -> None:
    """Check every file of an unpacked archive against its SHA-256."""
    from dapr_cli.bundle.installing import checked
    from dapr_cli.bundle.making import names

    console = session().console
    manifest = checked(directory, console)
    console.info(
        f"Dapr {manifest.runtime_version} for Python {manifest.python} on {manifest.platform}, "
        f"made {manifest.created}; images: {names(list(manifest.images))}"
    )


@bundle_command.command("push", cls=Verb)
@click.argument("directory", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--registry",
    metavar="HOST/PATH",
    required=True,
    help="Where to: the images become HOST/PATH/daprd:TAG and so on.",
)
@registry_options
@_seconds_option("How long one image may take.")
def push_command(
    directory: Path,
    registry: str,
    registry_ca: Path | None,
    registry_plain_http: bool,
    timeout: int,
) -> None:
    """Push the images of an unpacked archive to a registry.

    Every file is checked first. What the registry has already is not sent again. The login is that
    of 'docker login': config.json in ~/.docker or in the folder that DOCKER_CONFIG names.
    """
    from dapr_cli.bundle.image_names import Place
    from dapr_cli.bundle.pushing import push
    from dapr_cli.bundle.registry import Access

    console = session().console
    place = Place.parse(registry, "--registry")
    manifest = _with_images(directory, console)
    access = Access(ca=registry_ca, plain_http=registry_plain_http)
    asyncio.run(push(directory, manifest, place, access, console, timeout))
    console.info(f"Next: dapr init -k --from-dir {directory} --set global.registry={place}")


@bundle_command.command("load", cls=Verb)
@click.argument("directory", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--address",
    metavar="SOCKET",
    default="",
    help="Where containerd listens.  [default: where ctr looks]",
)
@click.option(
    "--kind",
    "cluster",
    metavar="NAME",
    default="",
    help="Into the nodes of this cluster of kind instead.",
)
@_seconds_option("How long it may take.")
def load_command(directory: Path, address: str, cluster: str, timeout: int) -> None:
    """Load the images of an unpacked archive into this node of a cluster.

    Into its containerd, by the program ctr and as root; with --kind by the program kind. Every
    file is checked first.
    """
    from dapr_cli.bundle.loading import into_containerd, into_kind

    if address and cluster:
        raise click.UsageError("--address and --kind: choose one")
    console = session().console
    manifest = _with_images(directory, console)
    if cluster:
        into_kind(directory, manifest, cluster, console, timeout)
    else:
        into_containerd(directory, manifest, address, console, timeout)


def _with_images(directory: Path, console: Console) -> Manifest:
    """Of a bundle whose files are as they were. Raises ``CliError``."""
    from dapr_cli.bundle.installing import checked

    manifest = checked(directory, console)
    if not manifest.images:
        raise CliError(
            f"the bundle {directory} has no images", "'dapr bundle create --images' packs some."
        )
    return manifest
