"""What an admission costs: in process, and as seen by whoever creates a pod in a real cluster.

    python -m benchmarks.injector [--seconds 3] [--pods 500]

The API server, sentry and the injector are real processes on this machine, as in the integration
tests, whose harness starts them. Pods are created as dry runs, one after the other over one
connection; the same pod in a namespace the webhook is not asked for is what there is without it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.machine import choose_cores, cpu_seconds, describe, resident_bytes
from dapr_common.flags import parse
from dapr_common.kube.login import kubeconfig_login
from dapr_injector.admission import Candidate, examine, inject
from dapr_injector.callers import Callers
from dapr_injector.injection import Facts
from dapr_injector.settings import FLAGS, read

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from harness.apiserver import api_server, missing_programs
from harness.injector import InjectorPlace
from harness.kube_cluster import Cluster

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "orders-1",
        "labels": {"app": "orders"},
        "annotations": {
            "dapr.io/enabled": "true",
            "dapr.io/app-id": "orders",
            "dapr.io/app-port": "6000",
            "dapr.io/config": "tracing",
            "dapr.io/env": "A=1,B=2",
        },
    },
    "spec": {
        "containers": [{"name": "app", "image": "none", "env": [{"name": "C", "value": "3"}]}]
    },
}
WARM = 30


def in_process(seconds: float) -> float:
    """Reviews read, decided and answered in a second of one core."""
    request = {
        "uid": "u",
        "kind": {"version": "v1", "kind": "Pod"},
        "namespace": "default",
        "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
        "object": POD,
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    body = json.dumps(review).encode()
    environment = {"NAMESPACE": "dapr-system", "SIDECAR_IMAGE": "example/daprd:1"}
    settings = read(parse(FLAGS, []), environment)
    callers, facts = Callers(settings.allowed_accounts), Facts(trust_anchors="PEM" * 300)
    done, began = 0, time.process_time()
    while (spent := time.process_time() - began) < seconds:
        found = examine(body, callers, "dapr-system")
        assert isinstance(found, Candidate)
        inject(found, settings, facts)
        done += 1
    return done / spent


async def through_a_cluster(pods: int) -> None:
    """Print what the creator of a pod waits for, with and without a sidecar."""
    with api_server() as server:
        cluster = Cluster(server)
        async with cluster.client:
            await cluster.install_crds()
            place = await InjectorPlace.make(cluster)
            await cluster.account("default", "default")
            async with await place.sentry() as sentry:
                await place.project()
                await place.register()
                async with place.injector(sentry, flags=["--log-level=error"]) as injector:
                    await place.until_injected()
                    without = await create(server.admin, "default", pods)
                    cpu = cpu_seconds(injector.process.pid)
                    sidecars = await create(server.admin, place.apps, pods)
                    spent = cpu_seconds(injector.process.pid) - cpu
                    memory = resident_bytes(injector.process.pid) >> 20
    print(f"a pod without     {summary(without)}")
    print(f"a pod with one    {summary(sidecars)}")
    each = spent / (pods + WARM) * 1000
    print(f"the injector      {each:.2f} ms of a core each, {memory} MiB")


async def create(admin: Path, namespace: str, pods: int) -> list[float]:
    """Milliseconds of each creation."""
    login = kubeconfig_login(admin)
    url = f"{login.server}/api/v1/namespaces/{namespace}/pods?dryRun=All"
    connector = aiohttp.TCPConnector(ssl=login.tls or True)
    times: list[float] = []
    async with aiohttp.ClientSession(connector=connector) as session:
        for _ in range(pods + WARM):
            began = time.perf_counter()
            async with session.post(url, json=POD) as response:
                made = await response.json()
            times.append((time.perf_counter() - began) * 1000)
            assert response.status == 201, made
            assert (len(made["spec"]["containers"]) == 2) == (namespace != "default"), made
    return times[WARM:]


def summary(times: Sequence[float]) -> str:
    cuts = statistics.quantiles(times, n=100)
    return f"p50 {cuts[49]:6.2f} ms, p99 {cuts[98]:6.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--pods", type=int, default=500)
    options = parser.parse_args()
    print(describe(choose_cores()))
    print(f"in process        {in_process(options.seconds):8.0f} admissions/s of a core")
    if missing := missing_programs():
        sys.exit(f"not here: {missing} (tests/cluster/build.py makes them)")
    asyncio.run(through_a_cluster(options.pods))


if __name__ == "__main__":
    main()
