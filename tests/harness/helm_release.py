"""What Helm has installed on a test's API server."""

from __future__ import annotations

import os
import subprocess

from harness.apiserver import ApiServer
from harness.kube_cluster import Cluster

from dapr_common.kube.kinds import Kind

SYSTEM = "dapr-system"
DEPLOYMENTS = Kind("apps", "v1", "deployments")


def helm_says(program: str, server: ApiServer, *arguments: str) -> str:
    return subprocess.run(
        [program, *arguments],
        env={**os.environ, "KUBECONFIG": str(server.admin)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


async def image(cluster: Cluster, name: str) -> str:
    body = await cluster.client.get(DEPLOYMENTS, name, SYSTEM)
    return str(body["spec"]["template"]["spec"]["containers"][0]["image"])
