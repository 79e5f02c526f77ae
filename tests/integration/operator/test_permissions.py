"""The operator works with what the chart allows it, and with no more."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.programs import path as built
from harness.kube_cluster import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES

from dapr_common.kube.api_errors import AlreadyExistsError
from dapr_common.wire.daprpy.operator.v1.status_pb2 import ResourceStatus
from dapr_operator.kinds import COMPONENT, SERVICES

SYSTEM = "dapr-system"
CHART = Path(__file__).parents[3] / "charts" / "dapr"
KINDS = {
    "ClusterRole": CLUSTER_ROLES,
    "ClusterRoleBinding": CLUSTER_ROLE_BINDINGS,
    "Role": ROLES,
    "RoleBinding": ROLE_BINDINGS,
}
REFUSED = ("forbidden", "cannot list", "cannot watch", "may not be written", "Traceback")


def rendered(*values: str) -> list[dict[str, Any]]:
    helm = built("helm")
    if not helm.exists():
        pytest.skip("not here: helm (`make cluster-tools` gets it)")
    command = [str(helm), "template", "dapr", str(CHART), "--namespace", SYSTEM]
    command += ["--show-only", "charts/dapr_rbac/templates/operator.yaml"]
    command += [part for value in values for part in ("--set", value)]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    return [body for body in yaml.safe_load_all(text) if body]


async def account(place: Any, *values: str) -> Path:
    """A kubeconfig of the operator's account, with the chart's permissions."""
    client = place.cluster.client
    for body in rendered(*values):
        kind = KINDS.get(body["kind"])
        if kind is not None:
            namespace = body["metadata"].get("namespace", SYSTEM)
            await client.patch(
                kind,
                body["metadata"]["name"],
                body,
                namespace if kind.namespaced else "",
                patch_kind="apply",
                field_manager="helm",
            )
    with contextlib.suppress(AlreadyExistsError):
        await place.cluster.account(SYSTEM, "dapr-operator")
    token = await place.cluster.token(SYSTEM, "dapr-operator", [])
    path: Path = place.cluster.server.kubeconfig("operator", token=token)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("namespaced", [False, True])
async def test_with_the_charts_permissions(place: Any, namespaced: bool) -> None:
    values = ["global.rbac.namespaced=true"] if namespaced else []
    kubeconfig = await account(place, *values)
    where = SYSTEM if namespaced else place.apps
    flags = [f"--watch-namespace={SYSTEM}"] if namespaced else []
    place.apps = where
    name = "namespaced" if namespaced else "everywhere"
    async with place.operator(*flags, kubeconfig=kubeconfig) as operator:
        await place.secret(name, password="s3cret")
        entry = {"name": "p", "secretKeyRef": {"name": name, "key": "password"}}
        missing = {"name": "p", "secretKeyRef": {"name": "none", "key": "password"}}
        async with (
            await place.sidecar(operator) as sidecar,
            sidecar.stream("Component") as stream,
            sidecar.reporting("orders-1") as report,
        ):
            await place.component(name, [entry])
            _, body = await stream.next()
            assert body["spec"]["metadata"][0]["value"]
            await report(("Component", name, ResourceStatus.FAILED, "no route"))
            await place.until(
                COMPONENT.kind, name, lambda one: one.get("status", {}).get("loaded") == "0/1"
            )
        await place.event("LoadFailed", "no route")
        await place.component(f"{name}-incomplete", [missing])
        await place.event("SecretMissing", "there is no secret 'none'")
        await place.deployment(name, name)
        await place.until(SERVICES, f"{name}-dapr")
    refused = [line for line in operator.lines if any(word in line for word in REFUSED)]
    assert not refused
