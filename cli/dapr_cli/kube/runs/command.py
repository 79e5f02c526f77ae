"""``dapr run -k`` and ``dapr stop -k``: what they say, and the way to the cluster."""

from __future__ import annotations

from collections.abc import Sequence

from dapr_cli.console import Console
from dapr_cli.kube.cluster import on_cluster
from dapr_cli.kube.runs.fleet import run_on_cluster
from dapr_cli.kube.runs.manifests import NAMESPACE, check, without_effect
from dapr_cli.kube.runs.objects import stop_apps
from dapr_cli.run_file import RunFile
from dapr_cli.settings import RunSettings


def run_apps(apps: Sequence[RunSettings], console: Console) -> int:
    """Run the apps of a file on the user's cluster; the exit code. Raises ``CliError``."""
    for app in apps:
        check(app)
    _warn(apps, console)
    return on_cluster(lambda client: run_on_cluster(client, apps, console), warns=False)


def stop_file(file: RunFile, console: Console) -> None:
    """Delete what 'dapr run -k' made for the apps of a file, and say it. Raises ``CliError``."""
    ids = [app.app_id for app in file.apps]
    stopped = on_cluster(lambda client: stop_apps(client, ids), warns=False)
    for app_id in stopped.strangers:
        console.failure(
            f"failed to stop app id {app_id}: its Deployment in namespace {NAMESPACE} was not made "
            "by 'dapr run -k'"
        )
    if not stopped.apps:
        if not stopped.strangers:
            console.failure(
                f"failed to stop the apps of {file.path}: none of them is running in the cluster"
            )
        return
    if not stopped.ended:
        console.warning("Some pods have not ended yet; the cluster will end them")
    console.success(f"apps stopped successfully: {', '.join(stopped.apps)}")


def _warn(apps: Sequence[RunSettings], console: Console) -> None:
    """Say once which settings a cluster has nothing for."""
    ids: dict[str, list[str]] = {}
    for app in apps:
        for key in without_effect(app):
            ids.setdefault(key, []).append(app.app_id)
    if ids:
        keys = ", ".join(f"{key} ({', '.join(of)})" for key, of in sorted(ids.items()))
        console.warning(f"Without effect in a cluster: {keys}")
