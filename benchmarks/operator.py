"""What 1,000 sidecars and 500 components cost the operator, and how long a change takes to all.

    python -m benchmarks.operator [--sidecars 1000] [--components 500] [--changes 30]

The API server, sentry and the operator are real processes on this machine, as in the integration
tests, whose harness starts them; the operator has a core of its own where there are two. Every
sidecar is a TLS connection of its own with a list of each kind it wants, five streams and a
report, from this one process: its core stands for the machines of the whole fleet, and its time is
in every figure. A change is one ``PATCH`` of a component; the clock starts before it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.machine import children_on, choose_cores, cpu_seconds, describe, resident_bytes
from dapr_common.grpc.backoff import Backoff
from dapr_common.grpc.client import Call, GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.wire import frame
from dapr_common.security.authority import CaBundle, Life, new_bundle
from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.svid import Svid
from dapr_common.security.tls import TlsContexts
from dapr_common.security.x509 import new_private_key, read_certificates
from dapr_common.wire.dapr.proto.operator.v1 import operator_pb2 as pb
from dapr_common.wire.daprpy.operator.v1 import status_pb2 as status
from dapr_operator.kinds import COMPONENT
from dapr_sentry.ca import CertificateAuthority

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from harness.apiserver import api_server, missing_programs
from harness.kube_cluster import NAMESPACES, Cluster
from harness.operator_process import Operator, install_all_crds
from harness.sentry import Sentry

SYSTEM, APPS = "dapr-system", "apps"
SERVICE = "/dapr.proto.operator.v1.Operator/"
REPORT = "/daprpy.operator.v1.SidecarStatus/Report"
STREAMS = ("Component", "Configuration", "HTTPEndpoint", "Resiliency", "Subscription")
IDENTITIES = 20
CONNECTING_AT_A_TIME = 64


class Fleet:
    """Everybody's last event, and who waits for it."""

    def __init__(self, sidecars: int) -> None:
        self.sidecars = sidecars
        self.wanted = b""
        self.seen: list[float] = []
        self.all_seen = asyncio.Event()

    def expect(self, marker: str) -> None:
        self.wanted, self.seen = marker.encode(), []
        self.all_seen.clear()

    def event(self, message: bytes) -> None:
        if self.wanted and self.wanted in message:
            self.seen.append(time.perf_counter())
            if len(self.seen) == self.sidecars:
                self.all_seen.set()


class Sidecar:
    """One connection; ``open`` lists and follows as sidecars do."""

    def __init__(self, port: int, contexts: TlsContexts, fleet: Fleet, number: int) -> None:
        self.channel = GrpcChannel(
            f"127.0.0.1:{port}", ssl=contexts.client, backoff=Backoff(0.05, 0.5)
        )
        self.calls: list[Call] = []
        self.readers: list[asyncio.Task[None]] = []
        self._fleet = fleet
        self._number = number

    async def open(self) -> int:
        """Returns how many components it was told of."""
        for kind in STREAMS:
            request = getattr(pb, f"{kind}UpdateRequest")(namespace=APPS)
            raw = frame(request.SerializeToString())
            call = await self.channel.open(f"{SERVICE}{kind}Update", frames=raw)
            await call.initial_metadata()
            self.calls.append(call)
            if kind == "Component":
                self.readers.append(asyncio.ensure_future(self._read(call)))
        asked = pb.ListComponentsRequest(namespace=APPS)
        answer = await self.channel.unary(
            f"{SERVICE}ListComponents", asked, pb.ListComponentResponse, timeout=60.0
        )
        return len(answer.message.components)

    async def report(self, components: int) -> None:
        call = await self.channel.open(REPORT)
        states = [
            status.ResourceStatus(kind="Component", name=f"c-{number}", state="LOADED")
            for number in range(components)
        ]
        pod = f"app-{self._number}"
        await call.send(status.SidecarReport(namespace=APPS, pod=pod, resources=states))
        self.calls.append(call)

    async def _read(self, call: Call) -> None:
        try:
            async for message in call:
                self._fleet.event(message)
        except RpcError:
            return

    async def close(self) -> None:
        for call in self.calls:
            call.cancel()
        for reader in self.readers:
            reader.cancel()
        self.calls.clear()
        self.readers.clear()
        await self.channel.close()


def identities(bundle: CaBundle) -> list[TlsContexts]:
    """Of sentry's own authority; signing a thousand is another benchmark's business."""
    ca = CertificateAuthority(
        bundle,
        namespace=SYSTEM,
        cluster_domain="cluster.local",
        ttl=timedelta(days=1),
        clock_skew=timedelta(minutes=15),
    )
    found = []
    for number in range(IDENTITIES):
        key = new_private_key("ed25519")
        identity = SpiffeId("public", APPS, f"app-{number}")
        issued = ca.issue(identity, key.public_key(), datetime.now(UTC))
        contexts = TlsContexts()
        chain = read_certificates(issued.chain_pem)
        contexts.install(Svid(identity, chain, key, bundle.anchors))
        found.append(contexts)
    return found


async def component(cluster: Cluster, number: int, marker: str) -> None:
    entries = [{"name": f"setting-{one}", "value": "x" * 20} for one in range(8)]
    body = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": f"c-{number}"},
        "spec": {
            "type": "state.redis",
            "version": "v1",
            "metadata": [*entries, {"name": "marker", "value": marker}],
        },
    }
    await cluster.client.patch(
        COMPONENT.kind,
        f"c-{number}",
        body,
        APPS,
        patch_kind="apply",
        field_manager="benchmark",
    )


async def in_groups(coroutines: Sequence[Any]) -> list[Any]:
    slots = asyncio.Semaphore(CONNECTING_AT_A_TIME)

    async def one(coroutine: Any) -> Any:
        async with slots:
            return await coroutine

    return await asyncio.gather(*map(one, coroutines))


async def changes(cluster: Cluster, fleet: Fleet, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds from before the PATCH: to each sidecar, and to the last one of each change."""
    each, last = [], []
    for number in range(count):
        marker = f"change-{number}-{time.perf_counter_ns()}"
        fleet.expect(marker)
        began = time.perf_counter()
        await component(cluster, 0, marker)
        async with asyncio.timeout(30):
            await fleet.all_seen.wait()
        each += [(moment - began) * 1000 for moment in fleet.seen]
        last.append((max(fleet.seen) - began) * 1000)
        await asyncio.sleep(0.1)
    return each, last


def percentiles(values: Sequence[float]) -> str:
    ordered = sorted(values)
    at = [ordered[min(int(len(ordered) * part), len(ordered) - 1)] for part in (0.5, 0.99)]
    return f"p50 {at[0]:7.1f} ms   p99 {at[1]:7.1f} ms   max {ordered[-1]:7.1f} ms"


def memory(operator: Operator) -> float:
    return resident_bytes(operator.process.pid) / 2**20


async def connect(
    operator: Operator, contexts: list[TlsContexts], fleet: Fleet, components: int
) -> tuple[list[Sidecar], float]:
    began = time.perf_counter()
    sidecars = [
        Sidecar(operator.port, contexts[number % IDENTITIES], fleet, number)
        for number in range(fleet.sidecars)
    ]
    counts = await in_groups([sidecar.open() for sidecar in sidecars])
    assert set(counts) == {components}, set(counts)
    return sidecars, time.perf_counter() - began


async def measure(options: argparse.Namespace) -> None:
    cores = choose_cores()
    print(describe(cores))
    bundle = new_bundle("cluster.local", SYSTEM, Life.of(datetime.now(UTC)))
    async with AsyncExitStack() as stack:
        with children_on(cores.load):
            sentry = stack.enter_context(Sentry(bundle=bundle, namespace=SYSTEM))
            server = stack.enter_context(api_server())
        cluster = Cluster(server)
        await stack.enter_async_context(cluster.client)
        await prepare(cluster, sentry)
        operator = Operator(server, sentry, flags=["--log-level=warn"])
        with children_on(cores.tested):
            await stack.enter_async_context(operator)
        print(f"memory: {memory(operator):.0f} MiB when nothing is there")
        began = time.perf_counter()
        await in_groups([component(cluster, one, "first") for one in range(options.components)])
        print(
            f"{options.components} components applied in {time.perf_counter() - began:.1f} s; "
            f"memory: {memory(operator):.0f} MiB"
        )
        contexts = identities(bundle)
        for sidecars in sorted({1, min(100, options.sidecars), options.sidecars}):
            await one_size(options, cluster, operator, contexts, sidecars)


async def prepare(cluster: Cluster, sentry: Sentry) -> None:
    await install_all_crds(cluster.client)
    for namespace in (SYSTEM, APPS):
        await cluster.client.create(NAMESPACES, {"metadata": {"name": namespace}})
    mtls = {
        "enabled": True,
        "controlPlaneTrustDomain": "cluster.local",
        "sentryAddress": f"127.0.0.1:{sentry.port}",
    }
    await cluster.configuration(SYSTEM, "daprsystem", {"mtls": mtls})


async def one_size(
    options: argparse.Namespace,
    cluster: Cluster,
    operator: Operator,
    contexts: list[TlsContexts],
    sidecars: int,
) -> None:
    fleet = Fleet(sidecars)
    busy = cpu_seconds(operator.process.pid)
    connected, seconds = await connect(operator, contexts, fleet, options.components)
    busy = cpu_seconds(operator.process.pid) - busy
    print(
        f"\n{sidecars} sidecars: connected, {len(STREAMS)} streams and a list each, within "
        f"{seconds:.1f} s ({busy:.1f} s of the operator's core); "
        f"memory: {memory(operator):.0f} MiB"
    )
    gc.collect()
    gc.freeze()
    busy = cpu_seconds(operator.process.pid)
    each, last = await changes(cluster, fleet, options.changes)
    busy = (cpu_seconds(operator.process.pid) - busy) / options.changes * 1000
    print(f"  one change, to each sidecar:   {percentiles(each)}")
    print(f"  one change, to the last one:   {percentiles(last)}   mean CPU {busy:.1f} ms")
    await in_groups([sidecar.report(options.components) for sidecar in connected])
    await settled(operator)
    print(f"  all reported on every component; memory: {memory(operator):.0f} MiB")
    await in_groups([sidecar.close() for sidecar in connected])
    await settled(operator)


async def settled(operator: Operator) -> None:
    """Wait until the operator is idle again, a minute at most."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        before = cpu_seconds(operator.process.pid)
        await asyncio.sleep(1)
        if cpu_seconds(operator.process.pid) - before < 0.1:
            return


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operator", description=__doc__)
    parser.add_argument("--sidecars", type=int, default=1000)
    parser.add_argument("--components", type=int, default=500)
    parser.add_argument("--changes", type=int, default=30)
    options = parser.parse_args()
    if missing := missing_programs():
        print(f"not here: {missing} (tests/cluster/build.py makes them)", file=sys.stderr)
        return 2
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
