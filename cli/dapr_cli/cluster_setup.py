"""What ``dapr init -k`` and ``dapr upgrade -k`` are given, as the chart's values."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dapr_cli.errors import CliError
from dapr_cli.session import Switch, session
from dapr_common import RUNTIME_VERSION

if TYPE_CHECKING:
    from dapr_cli.console import Console
    from dapr_common.security.authority import CaBundle

_FILE = click.Path(path_type=Path)
_CERTIFICATES = {
    "ca_root_certificate": "The root certificate of an authority of your own (PEM).",
    "issuer_private_key": "The key that is to sign the apps' certificates.",
    "issuer_public_certificate": "The certificate of that key, signed by the root.",
}
_NO_DEVELOPMENT = (
    "--dev: the Redis and Zipkin of the official CLI are charts and images of others, which this "
    "CLI does not install"
)

F = TypeVar("F", bound=Callable[..., Any])


def certificate_options(function: F) -> F:
    """The three files of an authority of one's own."""
    for name, text in reversed(_CERTIFICATES.items()):
        flag = f"--{name.replace('_', '-')}"
        function = click.option(flag, metavar="FILE", type=_FILE, help=text)(function)
    return function


def _no_variants(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        session().console.warning(f"{parameter.opts[0]} has no effect: the images have no variants")


image_variant_option = click.option(
    "--image-variant", expose_value=False, hidden=True, callback=_no_variants
)


def chart_options(function: F) -> F:
    """What both commands hand on to the chart and to Helm."""
    options = (
        click.option(
            "--set",
            "sets",
            metavar="KEY=VALUE",
            multiple=True,
            help="A value of the chart; may be repeated.",
        ),
        click.option("--image-registry", metavar="NAME", default="", help="Where images are."),
        click.option(
            "--timeout",
            metavar="SECONDS",
            type=click.IntRange(min=1),
            default=300,
            show_default=True,
            help="How long Helm waits for the cluster.",
        ),
        image_variant_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


def cluster_options(function: F) -> F:
    """The flags of ``dapr init`` that only count with ``-k``."""
    options = (
        click.option(
            "-n",
            "--namespace",
            default="dapr-system",
            show_default=True,
            help="With -k: where the control plane lives.",
        ),
        click.option("--wait", is_flag=True, help="With -k: wait until everything is ready."),
        click.option(
            "--enable-mtls",
            cls=Switch,
            default=True,
            show_default=True,
            help="With -k: mutual TLS between sidecars.",
        ),
        click.option(
            "--enable-ha",
            cls=Switch,
            default=False,
            show_default=True,
            help="With -k: three of each program.",
        ),
        click.option("--dev", is_flag=True, help="Not available: the command says why."),
        chart_options,
        certificate_options,
    )
    for option in reversed(options):
        function = option(function)
    return function


def install_into_cluster(
    runtime_version: str,
    *,
    namespace: str,
    wait: bool,
    timeout: int,
    enable_mtls: bool,
    enable_ha: bool,
    dev: bool,
    sets: tuple[str, ...],
    image_registry: str,
    from_dir: Path | None,
    **certificates: Path | None,
) -> None:
    """``dapr init -k``. Raises ``CliError``."""
    from dapr_cli.kube import control_plane
    from dapr_cli.kube.cluster import on_cluster

    if dev:
        raise CliError(
            _NO_DEVELOPMENT,
            "Leave --dev out and apply components of your own; state.in-memory and "
            "pubsub.in-memory need no server.",
        )
    modes = {"ha": {"enabled": enable_ha}, "mtls": {"enabled": enable_mtls}}
    values = control_plane.merged({"global": modes}, image_values(runtime_version, image_registry))
    if (given := read_authority(certificates)) is not None:
        values = control_plane.merged(values, control_plane.certificate_values(given))
    console = session().console
    wanted = control_plane.Wanted(
        namespace=namespace,
        values=values,
        sets=sets,
        wait=wait,
        seconds=timeout,
        chart=_chart_of(from_dir, console),
    )
    on_cluster(lambda client: control_plane.install(client, wanted, console), warns=False)


def _chart_of(bundle: Path | None, console: Console) -> Path | None:
    """The chart in a bundle, whose files are as they were. Raises ``CliError``."""
    if bundle is None:
        return None
    from dapr_cli.bundle.installing import checked
    from dapr_cli.bundle.manifest import CHART

    for name, file in checked(bundle, console).images.items():
        console.info(
            f"Nodes need the image {name}: 'ctr -n k8s.io images import {bundle / file}' on each, "
            "'kind load image-archive' with the same file, or push it to your registry"
        )
    return (bundle / CHART).absolute()


def image_values(runtime_version: str, registry: str) -> dict[str, Any]:
    """Which images: the chart's own unless something else is asked for."""
    if os.environ.get("DAPR_HELM_REPO_URL"):
        session().console.warning("DAPR_HELM_REPO_URL has no effect: the chart comes with this CLI")
    version = (runtime_version or os.environ.get("DAPR_RUNTIME_VERSION", "")).removeprefix("v")
    registry = registry or os.environ.get("DAPR_IMAGE_REGISTRY", "")
    images: dict[str, Any] = {}
    if version not in ("", "latest", RUNTIME_VERSION):
        images["tag"] = version
    if registry:
        images["registry"] = registry.rstrip("/")
    return {"global": images} if images else {}


def read_authority(certificates: Mapping[str, Path | None]) -> CaBundle | None:
    """The authority in the three files, checked; ``None`` when none is given.

    Raises ``CliError``.
    """
    from datetime import UTC, datetime

    from dapr_common.security.authority import BundleError, Names, load_bundle

    given = {name: path for name in _CERTIFICATES if (path := certificates[name]) is not None}
    if not given:
        return None
    if missing := [f"--{name.replace('_', '-')}" for name in _CERTIFICATES if name not in given]:
        raise click.UsageError(f"the three files go together: {', '.join(missing)} missing")
    root, key, issuer = given.values()
    try:
        return load_bundle(
            ca_crt=root.read_bytes(),
            issuer_crt=issuer.read_bytes(),
            issuer_key=key.read_bytes(),
            now=datetime.now(UTC),
            names=Names(str(root), str(issuer), str(key)),
        )
    except OSError as error:
        raise CliError(f"{error.filename} cannot be read: {error.strerror}") from error
    except BundleError as error:
        raise CliError(str(error)) from error
