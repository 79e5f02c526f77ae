"""What ``dapr init -k`` and ``dapr upgrade -k`` are given, as the chart's values."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dapr_cli.errors import CliError
from dapr_cli.session import Switch, session
from dapr_common import RUNTIME_VERSION

if TYPE_CHECKING:
    from dapr_cli.kube.control_plane import Wanted
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

_WITHOUT_EFFECT = {
    "DAPR_HELM_REPO_URL": "the chart comes with this CLI",
    "DAPR_DEFAULT_IMAGE_REGISTRY": "images are those of the chart, or of --image-registry",
}

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


def registry_options(function: F) -> F:
    """How a registry is spoken to that images are pushed to."""
    options = (
        click.option(
            "--registry-ca",
            metavar="FILE",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="Who signed the registry's certificate (PEM), beside those the system trusts.",
        ),
        click.option(
            "--registry-plain-http",
            is_flag=True,
            help="Speak to the registry without TLS; to one on this machine that is the default.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


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
        click.option(
            "--image-registry",
            metavar="NAME",
            default="",
            help="Where images are. With --from-dir: HOST/PATH, to which those of the bundle are "
            "pushed.",
        ),
        registry_options,
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
    registry_ca: Path | None,
    registry_plain_http: bool,
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
    console = session().console
    wanted = wanted_images(
        runtime_version, image_registry, registry_ca, registry_plain_http, from_dir, sets
    )
    values = control_plane.merged({"global": modes}, wanted.values)
    if (given := read_authority(certificates)) is not None:
        values = control_plane.merged(values, control_plane.certificate_values(given))
    wanted = replace(wanted, namespace=namespace, values=values, wait=wait, seconds=timeout)
    on_cluster(lambda client: control_plane.install(client, wanted, console), warns=False)


def wanted_images(
    runtime_version: str,
    image_registry: str,
    registry_ca: Path | None,
    registry_plain_http: bool,
    from_dir: Path | None,
    sets: tuple[str, ...],
) -> Wanted:
    """What both commands do about chart and images, of this CLI or of a bundle.

    A bundle is checked before anything else is done. Raises ``CliError``.
    """
    from dapr_cli.kube.control_plane import Wanted, merged

    values = image_values(runtime_version, image_registry)
    given = values.get("global", {})
    if (registry_ca or registry_plain_http) and (from_dir is None or "registry" not in given):
        raise click.UsageError(
            "--registry-ca and --registry-plain-http are about the registry that images are pushed "
            "to: they go with --from-dir and --image-registry"
        )
    if from_dir is None:
        return Wanted(values=values, sets=sets)
    from dapr_cli.bundle.for_cluster import from_bundle
    from dapr_cli.bundle.registry import Access

    bundle = from_bundle(
        from_dir,
        tag=given.get("tag", ""),
        registry=given.get("registry", ""),
        access=Access(ca=registry_ca, plain_http=registry_plain_http),
        sets=sets,
        console=session().console,
    )
    return Wanted(
        values=merged(values, bundle.values),
        fallback=bundle.fallback,
        sets=sets,
        chart=bundle.chart,
        prepare=bundle.prepare,
    )


def image_values(runtime_version: str, registry: str) -> dict[str, Any]:
    """Which images: the chart's own unless something else is asked for."""
    for name, why in _WITHOUT_EFFECT.items():
        if os.environ.get(name):
            session().console.warning(f"{name} has no effect: {why}")
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
