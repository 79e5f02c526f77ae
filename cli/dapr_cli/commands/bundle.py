"""``dapr bundle``: all of an installation in one archive, for machines without a network."""

from __future__ import annotations

from pathlib import Path

import click

from dapr_cli.session import Verb, global_options, session


@click.group(
    "bundle",
    params=global_options(),
    context_settings={"help_option_names": ["-h", "--help"]},
)
def bundle_command() -> None:
    """Pack Dapr for machines that have no network.

    \b
    dapr bundle create                     here, with a network
    dapr init --from-dir DIR               there, with the unpacked archive
    """


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
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.IntRange(min=1),
    default=1800,
    show_default=True,
    help="How long one step may take.",
)
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
