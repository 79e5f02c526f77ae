"""The certificate authority in a cluster: seen, and replaced while everybody goes on."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from dapr_cli.console import Console
from dapr_cli.errors import CliError
from dapr_cli.kube.cluster import CONTROL_PLANE_CONFIGURATION, on_cluster
from dapr_cli.kube.control_plane import has_certificates
from dapr_cli.kube.helm import Helm, HelmError
from dapr_cli.kube.kinds import DEPLOYMENTS, STATEFUL_SETS
from dapr_cli.kube.readiness import what_is_missing, workloads
from dapr_cli.kube.trust_bundle import NAME, TrustBundle, find_bundle, replace
from dapr_cli.session import session
from dapr_common.durations import parse_go_duration
from dapr_common.kube.api_errors import NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import CONFIGURATIONS, Kind, KubeObject, Selection
from dapr_common.security.authority import DEFAULT_CLOCK_SKEW, BundleError, CaBundle

_RESTARTED = "kubectl.kubernetes.io/restartedAt"  # what `kubectl rollout restart` writes
_SENTRY = "dapr-sentry"
_OTHERS: tuple[tuple[Kind, str], ...] = (
    (DEPLOYMENTS, "dapr-sidecar-injector"),
    (DEPLOYMENTS, "dapr-operator"),
    (STATEFUL_SETS, "dapr-placement-server"),
)
_LOOK_SECONDS = 1.0

Renewal = Callable[[CaBundle, timedelta], CaBundle]
"""The authority of before and the clock skew → the new authority."""


def is_enabled() -> bool:
    """Whether sidecars speak mutual TLS. Raises ``CliError``."""

    async def work(client: KubeClient) -> bool:
        found = await _control_plane_configurations(client)
        if not found:
            raise CliError(
                f"there is no Configuration {CONTROL_PLANE_CONFIGURATION} in the cluster",
                "Is Dapr installed? 'dapr status -k' shows it.",
            )
        return _mtls(found[0]).get("enabled") is not False

    return on_cluster(work)


def load(namespace: str) -> CaBundle:
    """The authority in use, also when it has ended. Raises ``CliError``."""

    async def work(client: KubeClient) -> CaBundle:
        return _authority(await find_bundle(client, namespace))

    return on_cluster(work, warns=False)


def renew(
    namespace: str, renewal: Renewal, *, restart_seconds: float | None
) -> tuple[CaBundle, CaBundle]:
    """Put a new authority into the cluster; the one before and the new one.

    With ``restart_seconds`` the control plane is restarted, sentry first. Raises ``CliError``.
    """
    console = session().console

    async def work(client: KubeClient) -> tuple[CaBundle, CaBundle]:
        seen = await find_bundle(client, namespace)
        before = _authority(seen)
        if not seen.agrees():
            console.warning(
                f"Secret and ConfigMap {NAME} hold different trust anchors, as after a renewal "
                "that was not finished: those of the Secret count"
            )
        after = renewal(before, await _clock_skew(client, seen.namespace))
        await replace(client, seen, after)
        await _warn_of_release(seen.namespace, console)
        if restart_seconds is not None:
            await _restart(client, seen.namespace, restart_seconds, console)
        return before, after

    return on_cluster(work, warns=False)


def _authority(bundle: TrustBundle) -> CaBundle:
    try:
        return bundle.authority()
    except BundleError as error:
        raise CliError(str(error)) from error


async def _control_plane_configurations(
    client: KubeClient, namespace: str = ""
) -> tuple[KubeObject, ...]:
    named = f"metadata.name={CONTROL_PLANE_CONFIGURATION}"
    return (await client.list_all(Selection(CONFIGURATIONS, namespace, fields=named))).items


def _mtls(configuration: KubeObject) -> KubeObject:
    found: KubeObject = (configuration.get("spec") or {}).get("mtls") or {}
    return found


async def _clock_skew(client: KubeClient, namespace: str) -> timedelta:
    """What the control plane allows clocks to be late."""
    try:
        for configuration in await _control_plane_configurations(client, namespace):
            if text := _mtls(configuration).get("allowedClockSkew"):
                return parse_go_duration(str(text))
    except NotFoundError:
        return DEFAULT_CLOCK_SKEW  # the kind is not known here: nobody has set it
    except ValueError as error:
        raise CliError(f"allowedClockSkew of {CONTROL_PLANE_CONFIGURATION}: {error}") from error
    return DEFAULT_CLOCK_SKEW


async def _warn_of_release(namespace: str, console: Console) -> None:
    """A release with certificates among its values would bring them back."""
    if shutil.which("helm") is None:
        return
    try:
        helm = Helm.find()
        if await helm.release(namespace=namespace) is None:
            return
        brings_back = has_certificates(await helm.values(namespace))
    except HelmError:
        return  # no release that Helm can read: nothing it could bring back
    if brings_back:
        console.warning(
            "The Helm release has the old certificates among its values: use 'dapr upgrade -k', "
            "which keeps the new ones; 'helm upgrade' would bring the old ones back"
        )


# --- restart ------------------------------------------------------------------------------------


async def _restart(client: KubeClient, namespace: str, seconds: float, console: Console) -> None:
    try:
        async with asyncio.timeout(seconds):
            for parts in (((DEPLOYMENTS, _SENTRY),), _OTHERS):
                names = [
                    name for kind, name in parts if await _begun(client, kind, name, namespace)
                ]
                console.pending(f"Restarting {', '.join(names)}")
                await _ready(client, namespace, names)
    except TimeoutError as error:
        missing = await what_is_missing(client, namespace)
        raise CliError(
            f"the new certificates are in the cluster, but after {seconds:g} s not everything has "
            f"restarted\n{missing}"
        ) from error
    console.success("The control plane has restarted")


async def _begun(client: KubeClient, kind: Kind, name: str, namespace: str) -> bool:
    """Whether there is such a part; it has begun to restart then."""
    annotations = {_RESTARTED: datetime.now(UTC).isoformat(timespec="seconds")}
    patch = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    try:
        await client.patch(kind, name, patch, namespace, patch_kind="strategic-merge")
    except NotFoundError:
        return False
    return True


async def _ready(client: KubeClient, namespace: str, names: list[str]) -> None:
    while True:
        found = [one for one in await workloads(client, namespace) if one.name in names]
        if all(one.is_ready for one in found):
            return
        await asyncio.sleep(_LOOK_SECONDS)
