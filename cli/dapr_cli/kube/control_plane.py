"""Install, upgrade and remove Dapr's control plane: the kinds first, then the chart by Helm."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dapr_cli.console import Console
from dapr_cli.errors import CliError
from dapr_cli.kube import definitions, shipped
from dapr_cli.kube.helm import Helm, HelmError
from dapr_cli.kube.kinds import NAMESPACES
from dapr_cli.kube.readiness import showing_progress, what_is_missing
from dapr_cli.kube.trust_bundle import find_bundles
from dapr_common.kube.api_errors import AlreadyExistsError, ForbiddenError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import Kind
from dapr_common.security.authority import BundleError, CaBundle

_DEVELOPMENT_RELEASES = ("dapr-dev-redis", "dapr-dev-zipkin")
_LEASES = Kind("coordination.k8s.io", "v1", "leases")
_LEFT_BEHIND = ("operator.dapr.io", "placement.dapr.io")

Values = dict[str, Any]
Preparation = Callable[[KubeClient, Values], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What ``dapr init -k`` or ``dapr upgrade -k`` is to do. Empty texts leave it to the chart."""

    namespace: str = ""
    values: Values
    """What the chart is given."""
    fallback: Values = field(default_factory=dict)
    """What it is given where neither ``values`` nor the release that is there say otherwise."""
    sets: Sequence[str] = ()
    """What the user gave as ``--set``; they win over ``values``."""
    wait: bool = False
    seconds: float = 300.0
    chart: Path | None = None
    """Another one than comes with this CLI."""
    prepare: Preparation | None = None
    """Runs with the values to be, once nothing stands in the way and before anything is changed."""


async def install(client: KubeClient, wanted: Wanted, console: Console) -> None:
    """A control plane where there is none yet. Raises ``CliError``."""
    helm, chart = Helm.find(), wanted.chart or shipped.chart()
    if (release := await helm.release()) is not None:
        raise CliError(
            f"Dapr is installed already, in namespace {release.namespace} "
            f"(Helm says: {release.status})",
            f"Remove it first: dapr uninstall -k -n {release.namespace}"
            if release.is_pending
            else "'dapr upgrade -k' brings it to this version.",
        )
    wanted = replace(wanted, values=merged(wanted.fallback, wanted.values))
    await _prepare(client, wanted)
    console.pending(f"Installing Dapr into namespace {wanted.namespace}")
    await _make_namespace(client, wanted.namespace)
    await _apply_kinds(client, wanted.namespace, chart, console)
    await _put(helm, ["install"], client, wanted, str(chart), console)
    console.success(f"Dapr is installed in namespace {wanted.namespace}")
    if not wanted.wait:
        console.info("Its pods are starting: 'dapr status -k' shows how far they are")


async def upgrade(client: KubeClient, wanted: Wanted, console: Console) -> None:
    """Bring the control plane that is there to this version; its settings and its authority stay.

    Raises ``CliError``.
    """
    helm, chart = Helm.find(), wanted.chart or shipped.chart()
    if (release := await helm.release()) is None:
        raise CliError(
            "there is no Helm release dapr in the cluster", "'dapr init -k' installs Dapr."
        )
    wanted = replace(wanted, namespace=release.namespace)
    before = merged(wanted.fallback, without_tag(await helm.values(wanted.namespace)))
    values = merged(before, wanted.values)
    if has_certificates(values):
        values = merged(values, await _present_certificates(client, wanted.namespace))
    # Not Helm's own reuse of values: it would keep the old chart's defaults, too.
    wanted = replace(wanted, values=values, wait=True)
    await _prepare(client, wanted)
    console.pending(f"Upgrading Dapr in namespace {wanted.namespace}")
    await _apply_kinds(client, wanted.namespace, chart, console)
    await _put(helm, ["upgrade", "--reset-values"], client, wanted, str(chart), console)
    console.success(f"Dapr in namespace {wanted.namespace} is upgraded")
    console.info("Sidecars are of the new version once their pods are restarted")


async def uninstall(
    client: KubeClient, namespace: str, *, everything: bool, seconds: float, console: Console
) -> None:
    """Remove the control plane; with ``everything`` also the kinds and all their objects."""
    helm = Helm.find()
    await _remove_release(helm, "dapr", namespace, seconds, console)
    for lease in _LEFT_BEHIND:  # nobody else removes who led
        with contextlib.suppress(NotFoundError, ForbiddenError):
            await client.delete(_LEASES, lease, namespace)
    if not everything:
        console.info("Dapr's kinds and their objects stay in the cluster (see --all)")
        return
    for name in await definitions.remove(client, namespace):
        console.success(f"{name} is removed with all its objects")


async def uninstall_development(seconds: float, console: Console) -> None:
    """Remove what ``dapr init -k --dev`` of the official CLI has installed."""
    helm = Helm.find()
    for name in _DEVELOPMENT_RELEASES:
        await _remove_release(helm, name, "default", seconds, console)


async def _remove_release(
    helm: Helm, name: str, namespace: str, seconds: float, console: Console
) -> None:
    if await helm.release(name, namespace) is None:
        elsewhere = await helm.release(name)
        console.warning(
            f"There is no Helm release {name} in namespace {namespace}"
            + (f"; there is one in {elsewhere.namespace}" if elsewhere else "")
        )
        return
    console.pending(f"Removing {name} from namespace {namespace}")
    flags = ["--namespace", namespace, "--wait", "--timeout", f"{seconds:g}s"]
    await helm.run("uninstall", name, *flags, seconds=seconds + 60)
    console.success(f"{name} is removed from namespace {namespace}")


async def _prepare(client: KubeClient, wanted: Wanted) -> None:
    if wanted.prepare is not None:
        await wanted.prepare(client, wanted.values)


async def _make_namespace(client: KubeClient, namespace: str) -> None:
    # Where somebody else makes namespaces, it is there; if not, Helm will say so.
    with contextlib.suppress(AlreadyExistsError, ForbiddenError):
        await client.create(NAMESPACES, {"metadata": {"name": namespace}})


async def _apply_kinds(client: KubeClient, namespace: str, chart: Path, console: Console) -> None:
    count = await definitions.apply(client, namespace, chart)
    console.success(f"Dapr's {count} kinds are known to the cluster")


async def _put(
    helm: Helm,
    verb: Sequence[str],
    client: KubeClient,
    wanted: Wanted,
    chart: str,
    console: Console,
) -> None:
    flags = ["--skip-crds", *(f"--set={text}" for text in wanted.sets)]
    if wanted.wait:
        flags.append("--wait")
    work = helm.put(verb, wanted.namespace, chart, wanted.values, flags, wanted.seconds)
    if not wanted.wait:
        await work
        return
    try:
        await showing_progress(work, client, wanted.namespace, console)
    except HelmError as error:
        if missing := await what_is_missing(client, wanted.namespace):
            raise HelmError(f"{error.message}\n{missing}", _after_failure(verb)) from error
        raise


def _after_failure(verb: Sequence[str]) -> str:
    again = "upgrade" if "upgrade" in verb else "uninstall"
    return (
        "What is installed stays: 'dapr status -k' shows whether it gets ready after all, "
        f"'dapr {again} -k' is the way on if not."
    )


# --- values -------------------------------------------------------------------------------------


def merged(below: Values, above: Values) -> Values:
    """Both, maps into each other; of two that differ the one ``above``."""
    found = dict(below)
    for key, value in above.items():
        under = found.get(key)
        if isinstance(under, dict) and isinstance(value, dict):
            value = merged(under, value)
        found[key] = value
    return found


def without_tag(values: Values) -> Values:
    """What a release was given, without the version it was of: the chart knows the new one."""
    images = {key: value for key, value in (values.get("global") or {}).items() if key != "tag"}
    return {**values, "global": images}


def certificate_values(authority: CaBundle) -> Values:
    """A certificate authority as the chart takes it."""
    issuer = {"certPEM": authority.chain_pem.decode(), "keyPEM": authority.key_pem.decode()}
    tls = {"root": {"certPEM": authority.anchors_pem.decode()}, "issuer": issuer}
    return {"dapr_sentry": {"tls": tls}}


def has_certificates(values: Values) -> bool:
    """Whether a release was given an authority of its own."""
    tls = (values.get("dapr_sentry") or {}).get("tls") or {}
    return bool((tls.get("issuer") or {}).get("certPEM"))


async def _present_certificates(client: KubeClient, namespace: str) -> Values:
    """Those in the cluster: what the release was installed with may have been renewed since."""
    for bundle in await find_bundles(client, namespace):
        try:
            return certificate_values(bundle.authority())
        except BundleError as error:
            raise CliError(
                f"the certificates in use cannot be kept: {error}",
                "'dapr mtls renew-certificate -k' with certificates of your own replaces them.",
            ) from error
    return {}
