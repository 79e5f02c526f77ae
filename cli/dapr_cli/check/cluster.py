"""A cluster's set-up: each check on its own, so that one that may not look does not hide others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from dapr_cli.check.clock import differs
from dapr_cli.check.cluster_kinds import check_kinds
from dapr_cli.check.cluster_objects import check_pods, check_resources
from dapr_cli.check.cluster_plane import check_certificates, check_control_plane
from dapr_cli.check.cluster_webhooks import check_webhooks
from dapr_cli.check.findings import Finding
from dapr_cli.kube.cluster import SYSTEM_NAMESPACE, UserClient, on_cluster
from dapr_cli.kube.server_clock import server_time
from dapr_cli.kube.trust_bundle import find_bundles
from dapr_common.kube.api_errors import ForbiddenError
from dapr_common.kube.client import KubeClient

Check = Callable[[KubeClient], AsyncIterator[Finding]]


def check_cluster(namespace: str) -> list[Finding]:
    """Everything that is wrong; resources and pods only of ``namespace``, when given.

    Raises ``CliError`` when the cluster cannot be asked at all.
    """

    async def work(client: UserClient) -> list[Finding]:
        theirs = await server_time(client.login)
        found = list(differs(theirs, datetime.now(UTC), "the cluster")) if theirs else []
        system = await _system_namespace(client)
        checks: dict[str, AsyncIterator[Finding]] = {
            "kinds": check_kinds(client, system),
            "control plane": check_control_plane(client, system),
            "webhooks": check_webhooks(client),
            "certificates": check_certificates(client, datetime.now(UTC)),
            "resources": check_resources(client, namespace),
            "pods": check_pods(client, namespace),
        }
        for area, check in checks.items():
            found += await _carried_out(area, check)
        return found

    return on_cluster(work, warns=False)


async def _carried_out(area: str, check: AsyncIterator[Finding]) -> list[Finding]:
    found = []
    try:
        async for one in check:
            found.append(one)  # noqa: PERF401 - what was found before it broke off counts
    except ForbiddenError as error:
        fix = "Ask the cluster's administrator for this permission, or to run the check."
        found.append(Finding("warning", area, "your account", f"may not look: {error}", fix))
    return found


async def _system_namespace(client: KubeClient) -> str:
    """Where the control plane is, by what sentry keeps there."""
    try:
        bundles = await find_bundles(client)
    except ForbiddenError:
        bundles = []
    return bundles[0].namespace if bundles else SYSTEM_NAMESPACE
