"""``dapr logs``: what an app's sidecar in a cluster has written."""

from __future__ import annotations

import sys

import click

from dapr_cli.errors import CliError
from dapr_cli.session import Verb, kubernetes_only_option


@click.command("logs", cls=Verb)
@click.option("-a", "--app-id", required=True, help="The app whose sidecar is meant.")
@click.option("-p", "--pod-name", default="", help="The pod, when the app has several.")
@click.option(
    "-n", "--namespace", default="default", show_default=True, help="The namespace of the app."
)
@kubernetes_only_option
def logs_command(app_id: str, pod_name: str, namespace: str) -> None:
    """Print the log of an app's sidecar in a Kubernetes cluster."""
    from dapr_cli.kube.cluster import UserClient, on_cluster
    from dapr_cli.kube.pod_log import pod_log
    from dapr_cli.kube.pods import SIDECAR, sidecar_pods
    from dapr_common.kube.kinds import PODS, Selection

    async def work(client: UserClient) -> None:
        pods = sidecar_pods((await client.list_all(Selection(PODS, namespace))).items)
        found = [pod for pod in pods if pod.app_id == app_id and pod_name in ("", pod.name)]
        if not found:
            raise CliError(
                f"couldn't find a pod{f' {pod_name}' if pod_name else ''} with a sidecar of app id "
                f"{app_id} in namespace {namespace}",
                "'dapr list -k' shows the apps that have sidecars.",
            )
        async for chunk in pod_log(client.login, namespace, found[0].name, SIDECAR):
            sys.stdout.buffer.write(chunk)
        sys.stdout.flush()

    on_cluster(work)
