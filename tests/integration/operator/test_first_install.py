"""A chart's objects come in any order: the operator waits for what it needs, and says so."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.apiserver import ApiServer, api_server, missing_programs
from harness.kube_cluster import CRDS, NAMESPACES, Cluster
from harness.operator_process import Operator, OperatorClient, install_all_crds
from harness.sentry import Sentry

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_operator.kinds import COMPONENT, MCP_SERVER, WORKFLOW_ACCESS_POLICY

SYSTEM = "dapr-system"


@pytest.fixture
def bare() -> Iterator[ApiServer]:
    if missing := missing_programs():
        pytest.skip(f"not here: {missing} (tests/cluster/build.py makes them)")
    with api_server() as server:
        yield server


@pytest.fixture
async def cluster(bare: ApiServer) -> AsyncIterator[Cluster]:
    found = Cluster(bare)
    async with found.client:
        yield found


@pytest.mark.slow
async def test_everything_comes_late(cluster: Cluster, sentry: Sentry) -> None:
    with tempfile.TemporaryDirectory() as folder:
        anchors = Path(folder) / "ca.crt"
        operator = Operator(
            cluster.server,
            sentry,
            ready=False,
            flags=[f"--trust-anchors-file={anchors}"],
        )
        async with operator:
            await asyncio.to_thread(
                operator.wait_line,
                f"Waiting for Configuration daprsystem in namespace {SYSTEM}",
            )
            assert operator.health() == 503
            await cluster.client.create(NAMESPACES, {"metadata": {"name": SYSTEM}})
            await install_all_crds(cluster.client)
            mtls = {
                "enabled": True,
                "controlPlaneTrustDomain": "cluster.local",
                "sentryAddress": f"127.0.0.1:{sentry.port}",
            }
            await cluster.configuration(SYSTEM, "daprsystem", {"mtls": mtls})
            await asyncio.to_thread(operator.wait_line, "Waiting for the trust anchors")
            staged = Path(folder) / "new"
            staged.write_bytes(sentry.anchors_pem)
            staged.replace(anchors)
            await asyncio.to_thread(operator.wait_line, "Sidecars are served")
            assert operator.health() == 200


async def patiently_listed(sidecar: OperatorClient) -> dict[str, Any]:
    """As sidecars list: again when it is not known in time what there is."""
    while True:
        try:
            return await sidecar.components()
        except RpcError as error:
            assert error.code == GrpcCode.UNAVAILABLE, error  # noqa: PT017 - others are tried again


@pytest.mark.slow
async def test_kinds_that_come_late(cluster: Cluster, sentry: Sentry) -> None:
    """Only the one that ``daprsystem`` needs is there; the others are waited for."""
    await cluster.client.create(NAMESPACES, {"metadata": {"name": SYSTEM}})
    await cluster.install_crds()
    mtls = {
        "controlPlaneTrustDomain": "cluster.local",
        "sentryAddress": f"127.0.0.1:{sentry.port}",
    }
    await cluster.configuration(SYSTEM, "daprsystem", {"mtls": mtls})
    operator = Operator(cluster.server, sentry, ready=False)
    async with operator:
        await asyncio.to_thread(
            operator.wait_line,
            "Waiting for components.dapr.io: its definition is not installed",
        )
        await asyncio.to_thread(operator.wait_line, "MCPServer cannot be used")
        assert operator.health() == 503
        signed = await asyncio.to_thread(lambda: sentry.sign(id="orders", namespace=SYSTEM))
        server_id = f"spiffe://cluster.local/ns/{SYSTEM}/dapr-operator"
        async with OperatorClient(operator.port, signed.svid, server_id) as sidecar:
            waiting = asyncio.ensure_future(patiently_listed(sidecar))
            await install_all_crds(cluster.client)
            assert await waiting == {}, "a list waits until it is known what there is"
            async with sidecar.stream("Component") as stream:
                body = {
                    "apiVersion": "dapr.io/v1alpha1",
                    "kind": "Component",
                    "metadata": {"name": "store"},
                    "spec": {"type": "state.in-memory", "version": "v1", "metadata": []},
                }
                await cluster.client.create(COMPONENT.kind, body, SYSTEM)
                assert (await stream.next())[0] == "CREATED"
        await asyncio.to_thread(operator.wait_line, "Sidecars are served")


@pytest.mark.slow
async def test_optional_kinds_may_stay_away(cluster: Cluster, sentry: Sentry) -> None:
    await cluster.client.create(NAMESPACES, {"metadata": {"name": SYSTEM}})
    await install_all_crds(cluster.client)
    for kind in (MCP_SERVER, WORKFLOW_ACCESS_POLICY):
        await cluster.client.delete(CRDS, kind.crd)
    mtls = {
        "enabled": True,
        "controlPlaneTrustDomain": "cluster.local",
        "sentryAddress": f"127.0.0.1:{sentry.port}",
    }
    await cluster.configuration(SYSTEM, "daprsystem", {"mtls": mtls})
    async with Operator(cluster.server, sentry) as operator:
        assert operator.health() == 200
