"""Several placement servers: one serves at a time, whatever happens to it or to the lock."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from harness.apiserver import ApiServer, Etcd, api_server, missing_programs
from harness.consul import Consul, consul_program
from harness.kube_cluster import NAMESPACES, Cluster
from harness.placement_process import Placement, PlacementClient
from harness.proxy import Proxy

from dapr_common.lease import Record
from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb
from dapr_placement.locks.consul import ConsulLease
from dapr_placement.locks.servers import Servers

KEY = "dapr/placement"
CLUSTER = "--initial-cluster=p1=h1:8201,p2=h2:8201"
LEADS = "This placement server leads"


@dataclass(frozen=True)
class Lock:
    """What servers are told of it; ``port`` is where it is."""

    flags: Callable[[int], Sequence[str]]
    port: int
    env: dict[str, str]

    def server(self, name: str, *, port: int = 0, **more: Any) -> Placement:
        flags = [f"--id={name}", CLUSTER, *self.flags(port or self.port)]
        return Placement(*flags, env=self.env, **more)


@pytest.fixture(scope="module")
def etcd() -> Iterator[Etcd]:
    if missing := missing_programs():
        pytest.skip(f"not here: {missing} (tests/cluster/build.py makes them)")
    with tempfile.TemporaryDirectory() as folder, Etcd(Path(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def consul() -> Iterator[Consul]:
    if not consul_program():
        pytest.skip("not here: consul (tools/programs.py builds it)")
    with Consul() as running:
        yield running


@pytest.fixture(scope="module")
def kube() -> Iterator[ApiServer]:
    if missing := missing_programs():
        pytest.skip(f"not here: {missing} (tests/cluster/build.py makes them)")

    async def prepare(server: ApiServer) -> None:
        async with Cluster(server).client as client:
            await client.create(NAMESPACES, {"metadata": {"name": "dapr-system"}})

    with api_server() as server:
        asyncio.run(prepare(server))
        yield server


def consul_lock(consul: Consul) -> Lock:
    return Lock(lambda port: [f"--leader-lock=consul://127.0.0.1:{port}/{KEY}"], consul.port, {})


def etcd_lock(etcd: Etcd) -> Lock:
    return Lock(lambda port: [f"--leader-lock=etcd://127.0.0.1:{port}/{KEY}"], etcd.port, {})


@pytest.fixture(params=["consul", "etcd", "kubernetes"])
def lock(request: pytest.FixtureRequest) -> Lock:
    if request.param == "consul":
        return consul_lock(request.getfixturevalue("consul"))
    if request.param == "etcd":
        return etcd_lock(request.getfixturevalue("etcd"))
    kube = request.getfixturevalue("kube")
    env = {
        "KUBE_CONFIG": str(kube.admin),
        "NAMESPACE": "dapr-system",
        "DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK": "true",
    }
    return Lock(lambda _: ["--mode=kubernetes"], 0, env)


async def leads(server: Placement, seconds: float = 40.0) -> float:
    """Wait until it leads. Returns how long that took."""
    began = time.monotonic()
    await asyncio.to_thread(lambda: server.wait_line(LEADS, seconds))
    return time.monotonic() - began


async def refused(server: Placement, name: str) -> None:
    """Sidecars are sent on, and the pages say who does not lead."""
    async with PlacementClient(server.address, "somebody") as client:
        assert await client.status() == (
            grpc.StatusCode.FAILED_PRECONDITION,
            f"node id={name} is not a leader. Only the leader can serve requests",
        )
    state = await asyncio.to_thread(server.get, "/placement/state")
    assert state.status == 500
    assert b"is not a leader" in state.body
    assert (await asyncio.to_thread(server.get, "/healthz")).status == 200
    metrics = await asyncio.to_thread(server.metrics)
    assert metrics["dapr_placement_leader_status"] == 0
    assert metrics["dapr_placement_raft_leader_status"] == 0


@asynccontextmanager
async def joined(server: Placement, app_id: str = "app") -> AsyncIterator[PlacementClient]:
    """A sidecar with the tables."""
    async with PlacementClient(server.address, app_id) as client:
        await client.report("A")
        for _ in range(3):
            await client.acknowledge(await client.next())
        yield client


@pytest.mark.slow
async def test_orderly_and_other_ends(lock: Lock) -> None:
    async with lock.server("p1", exit_code=None) as first:
        await leads(first)
        assert (await asyncio.to_thread(first.metrics))["dapr_placement_leader_status"] == 1
        async with lock.server("p2") as second:
            async with joined(first) as client:
                await refused(second, "p2")
                began = time.monotonic()
                await asyncio.to_thread(first.stop)
                assert await client.status() == (
                    grpc.StatusCode.UNAVAILABLE,
                    "placement server is shutting down",
                )
            await leads(second)
            assert time.monotonic() - began < 8, "the lock was given back: it would live for 9 s"
            async with lock.server("p1") as first_again, joined(second) as client:
                await refused(first_again, "p1")
                second.exit_code = None
                second.signal(signal.SIGKILL)
                took = await leads(first_again)
                assert took < 20, "10 s the lock lives, 1 s until the next look, and a busy machine"
                async with joined(first_again):
                    pass
                assert (await client.status())[0] is grpc.StatusCode.UNAVAILABLE


@pytest.mark.slow
async def test_a_leader_that_stood_still_does_not_go_on(consul: Consul) -> None:
    lock = consul_lock(consul)
    async with lock.server("p1") as first, lock.server("p2") as second:
        leader, other = (first, second) if await _is_first(first, second) else (second, first)
        async with joined(leader) as client:
            await client.report("A", "B")
            order = await client.next()
            assert order.operation == "lock"
            leader.signal(signal.SIGSTOP)
            try:
                await client.acknowledge(order)  # the first thing it finds when it goes on
                await leads(other)
            finally:
                leader.signal(signal.SIGCONT)
            assert (await client.status())[0] is grpc.StatusCode.FAILED_PRECONDITION
            with pytest.raises(EOFError):
                await client.next()
        assert leader.process.poll() is None, "it goes on as a follower"
        await refused(leader, "p1" if leader is first else "p2")


async def _is_first(first: Placement, second: Placement) -> bool:
    async with asyncio.timeout(40):
        while LEADS not in first.log + second.log:
            await asyncio.sleep(0.05)
    return LEADS in first.log


@pytest.mark.slow
@pytest.mark.parametrize("system", ["consul", "etcd"])
async def test_a_leader_cut_off_from_the_lock_stops_before_another_begins(
    system: str, request: pytest.FixtureRequest
) -> None:
    found = request.getfixturevalue(system)
    lock = consul_lock(found) if system == "consul" else etcd_lock(found)
    proxy = Proxy(lock.port)
    await proxy.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(proxy.close)
        first = await stack.enter_async_context(lock.server("p1", port=proxy.port))
        await leads(first)
        second = await stack.enter_async_context(lock.server("p2"))
        async with joined(first) as client:
            ended = asyncio.ensure_future(_when_ended(client))
            begins = asyncio.ensure_future(_when_leading(second))
            proxy.hold()
            assert await ended < await begins
            assert (await client.status())[0] is grpc.StatusCode.FAILED_PRECONDITION
        await refused(first, "p1")
        proxy.release()
        async with joined(second):
            await refused(first, "p1")
    assert await _holder(lock, system) == ""


async def _when_ended(client: PlacementClient) -> float:
    await client.status(60.0)
    return time.monotonic()


async def _when_leading(server: Placement) -> float:
    async with asyncio.timeout(60):
        while LEADS not in server.log:
            await asyncio.sleep(0.01)
    return time.monotonic()


async def _holder(lock: Lock, system: str) -> str:
    def read() -> str:
        if system == "consul":
            url = f"http://127.0.0.1:{lock.port}/v1/kv/{KEY}?raw"
            return urllib.request.urlopen(url).read().decode()
        key = base64.b64encode(KEY.encode()).decode()
        found = _post(lock.port, "kv/range", {"key": key})
        return base64.b64decode(found["kvs"][0]["value"]).decode()

    return str(json.loads(await asyncio.to_thread(read))["holder"])


def _post(port: int, method: str, body: Any, token: str = "") -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v3/{method}", json.dumps(body).encode()
    )
    if token:
        request.add_header("Authorization", token)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


async def test_consul_with_a_token_and_tls(tmp_path: Path) -> None:
    if not consul_program():
        pytest.skip("not here: consul (tools/programs.py builds it)")
    ca = trustme.CA()
    client = ca.issue_cert("placement")
    files = {name: tmp_path / name for name in ("ca", "cert", "key", "token")}
    ca.cert_pem.write_to_path(str(files["ca"]))
    client.cert_chain_pems[0].write_to_path(str(files["cert"]))
    client.private_key_pem.write_to_path(str(files["key"]))
    files["token"].write_text("7a0c0a4e-0000-4000-8000-000000000001\n")
    async with Consul(token=files["token"].read_text().strip(), ca=ca) as consul:
        lock = f"--leader-lock=consuls://127.0.0.1:{consul.https_port}/{KEY}"
        flags = [f"--leader-lock-{name}-file={path}" for name, path in files.items()]
        async with Placement("--id=p1", CLUSTER, lock, *flags) as server:
            await leads(server)
            async with joined(server):
                pass
        (tmp_path / "token").write_text("another\n")
        async with Placement("--id=p1", CLUSTER, lock, *flags) as server:
            await asyncio.to_thread(server.wait_line, "The lease cannot be")
            await refused(server, "p1")
            assert "another" not in server.log


async def test_etcd_with_a_user(tmp_path: Path) -> None:
    if missing := missing_programs():
        pytest.skip(f"not here: {missing} (tests/cluster/build.py makes them)")
    password = tmp_path / "password"
    password.write_text("root:s3cret\n")
    async with Etcd(tmp_path / "data") as etcd:
        await asyncio.to_thread(_with_users, etcd.port)
        lock = f"--leader-lock=etcd://127.0.0.1:1,127.0.0.1:{etcd.port}/{KEY}"
        flag = f"--leader-lock-password-file={password}"
        async with Placement("--id=p1", CLUSTER, lock, flag) as server:
            await leads(server)
            async with joined(server):
                pass
        async with Placement("--id=p1", CLUSTER, lock) as server:
            await asyncio.to_thread(server.wait_line, "The lease cannot be")
            await refused(server, "p1")


def _with_users(port: int) -> None:
    _post(port, "auth/user/add", {"name": "root", "password": "s3cret"})
    _post(port, "auth/role/add", {"name": "root"})
    _post(port, "auth/user/grant", {"user": "root", "role": "root"})
    _post(port, "auth/enable", {})


async def test_a_key_that_is_something_else_is_left_alone(etcd: Etcd) -> None:
    key = base64.b64encode(b"other").decode()
    value = base64.b64encode(b"precious").decode()
    await asyncio.to_thread(_post, etcd.port, "kv/put", {"key": key, "value": value})
    lock = f"--leader-lock=etcd://127.0.0.1:{etcd.port}/other"
    async with Placement(lock) as server:
        await asyncio.to_thread(server.wait_line, "holds something that is no lease")
        await refused(server, "dapr-placement-0")
    found = await asyncio.to_thread(_post, etcd.port, "kv/range", {"key": key})
    assert found["kvs"][0]["value"] == value


async def test_alone_it_leads_at_once() -> None:
    async with Placement() as server, PlacementClient(server.address, "app") as client:
        await client.send(operation=pb.REPORT)
        await client.expect("lock", 0)


async def test_every_renewal_is_seen_by_the_others(consul: Consul) -> None:
    """Consul keeps the version of a key that is written with the value it has."""
    lease = ConsulLease(Servers([("127.0.0.1", consul.port)], None), "test/renewals", lambda: "")
    try:
        first = await lease.write(Record(holder="p1", life_seconds=10.0))
        second = await lease.write(first)
        assert (await lease.read()).version == second.version != first.version
    finally:
        await lease.close()
