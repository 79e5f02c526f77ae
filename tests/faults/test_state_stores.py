"""A state store's server is killed, stalls, or was never there.

Every call ends within its deadline, what was written is there afterwards, and nothing piles up.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness.backends import Backend
from harness.block_api import make
from harness.dynamodb_calls import create_table
from harness.proxy import Proxy, proxy

from dapr_sidecar.components.base import Component
from dapr_sidecar.components.registry import component_class
from dapr_sidecar.components.state.base import GetRequest, SetRequest

SECONDS = 2.0  # the deadline where a manifest can say it
SLACK = 8.0  # other work of the machine
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class System:
    type: str
    version: str
    backend: str
    metadata: dict[str, str]
    seconds: float = SECONDS  # the deadline of one operation
    keeps_data: bool = True  # what was written outlives the server's end
    prepare: Callable[[str], None] = lambda address: None

    def store(self, port: int, **more: str) -> Any:
        kind: type[Component] = component_class(self.type, self.version)
        texts = {name: text.replace("{port}", str(port)) for name, text in self.metadata.items()}
        return make(kind, **{**texts, **more})


POSTGRES = {
    "connectionString": "host=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=disable",
    "timeout": f"{SECONDS}s",
}
DYNAMODB = {
    "endpoint": "http://127.0.0.1:{port}",
    "region": "eu-west-1",
    "accessKey": "a",
    "secretKey": "b",
    "table": "faults",
}
# Cosmos DB's client shares its way over the network, and its deadlines, with DynamoDB's.
SYSTEMS = [
    System(
        "state.aws.dynamodb",
        "v1",
        "dynamodb",
        DYNAMODB,
        seconds=5.0,
        keeps_data=False,
        prepare=lambda address: create_table(address, "faults"),
    ),
    System("state.etcd", "v1", "etcd", {"endpoints": "127.0.0.1:{port}"}, seconds=5.0),
    System(
        "state.mongodb",
        "v1",
        "mongodb",
        {
            "connectionString": "mongodb://127.0.0.1:{port}/?directConnection=true",
            "operationTimeout": f"{SECONDS}s",
        },
        keeps_data=False,
    ),
    System("state.postgresql", "v1", "postgres", POSTGRES),
    System("state.postgresql", "v2", "postgres", POSTGRES),
]


@pytest.fixture(scope="module", params=SYSTEMS, ids=lambda s: f"{s.type}-{s.version}")
def system(request: pytest.FixtureRequest) -> System:
    found: System = request.param
    return found


@pytest.fixture(scope="module")
def server(system: System) -> Iterator[Backend]:
    with Backend(system.backend) as found:
        system.prepare(found.address)
        yield found


@pytest.fixture
async def line(server: Backend) -> AsyncIterator[Proxy]:
    async with proxy(server.port) as found:
        yield found


@pytest.fixture
async def store(system: System, line: Proxy) -> AsyncIterator[Any]:
    found = system.store(line.port)
    await found.open()
    yield found
    started = time.monotonic()
    await found.close()
    assert time.monotonic() - started < SLACK


async def fails_in_time(system: System, call: Any) -> Exception:
    started = time.monotonic()
    with pytest.raises(Exception) as caught:
        await call
    assert time.monotonic() - started < system.seconds + SLACK
    assert not isinstance(caught.value, TimeoutError), "a bare timeout tells nobody what to mend"
    return caught.value


def established(port: int) -> int:
    """Connections of this machine to the port that their client has not closed."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    ends = [(line.split()[2], line.split()[3]) for line in lines]
    return sum(end.endswith(f":{port:04X}") and state == "01" for end, state in ends)


async def works_again(store: Any, key: str = "k") -> bytes | None:
    """The value, once the store can serve again; that must be soon."""
    async with asyncio.timeout(40):
        while True:
            try:
                data: bytes | None = (await store.get(GetRequest(key))).data
            except Exception:  # noqa: BLE001 - not yet
                await asyncio.sleep(0.05)
            else:
                return data


async def test_killed_and_started_again(
    system: System, server: Backend, line: Proxy, store: Any
) -> None:
    await store.set(SetRequest("k", b"before"))
    server.kill()
    for _ in range(3):
        await fails_in_time(system, store.set(SetRequest("k", b"while away")))
    with pytest.raises(Exception, match=f"127\\.0\\.0\\.1:{line.port}"):
        await store.ping()
    server.restart()
    system.prepare(server.address)
    found = await works_again(store)
    assert found == (b"before" if system.keeps_data else None)
    await store.set(SetRequest("k", b"after"))
    assert (await store.get(GetRequest("k"))).data == b"after"


async def test_a_line_that_forwards_nothing(system: System, line: Proxy, store: Any) -> None:
    await store.set(SetRequest("k", b"before"))
    line.hold()
    error = await fails_in_time(system, store.get(GetRequest("k")))
    assert str(line.port) in str(error)
    connections = line.accepted
    for _ in range(3):
        await asyncio.gather(
            *(fails_in_time(system, store.set(SetRequest("k", b"%d" % n))) for n in range(20))
        )
    assert line.accepted - connections <= 70, "connections pile up"
    assert established(line.port) <= 20, "connections that were given up stay open"
    line.release()
    assert await works_again(store) is not None
    # What was held back may arrive now, given up or not: another key tells of what comes after.
    await store.set(SetRequest("after", b"1"))
    assert (await store.get(GetRequest("after"))).data == b"1"


async def test_a_server_that_stands_still(system: System, server: Backend, store: Any) -> None:
    """Its processes are stopped for longer than a call may last, as a slow disk stops them."""
    await store.set(SetRequest("k", b"before"))
    server.freeze()
    try:
        calls = [store.get(GetRequest("k")), *(store.set(SetRequest(f"k{n}", b"1")) for n in "ab")]
        await asyncio.gather(*(fails_in_time(system, call) for call in [*calls, store.ping()]))
    finally:
        server.thaw()
    assert await works_again(store) == b"before"
    await store.set(SetRequest("k", b"after"))
    assert (await store.get(GetRequest("k"))).data == b"after"


async def test_connections_that_die_in_silence(system: System, line: Proxy, store: Any) -> None:
    """Those of a pool are given up together, not one deadline after the other."""
    await store.bulk_set([SetRequest(f"k{n}", b"%d" % n) for n in range(20)])
    if system.backend == "postgres":
        await asyncio.gather(*(store.get(GetRequest(f"k{n}")) for n in range(20)))
    line.lose()
    started = time.monotonic()
    assert await works_again(store, "k7") == b"7"
    if system.backend == "postgres":
        assert time.monotonic() - started < 2 * system.seconds + SLACK
    await asyncio.gather(*(store.get(GetRequest(f"k{n}")) for n in range(20)))


async def test_a_line_that_stalls_between_statements(
    system: System, line: Proxy, store: Any
) -> None:
    """A connection that is put back into its pool just then does not keep its place for ever."""
    if system.backend != "postgres":
        pytest.skip("has no pool whose connections are reset")

    async def work(connection: Any) -> None:
        await connection.fetchval("SELECT 1")
        line.lose()

    for _ in range(8):  # more than the pool has places
        await fails_in_time(system, store._pool.run(work))
    await store.set(SetRequest("k", b"after"))
    assert (await store.get(GetRequest("k"))).data == b"after"


async def test_a_cut_line(system: System, line: Proxy, store: Any) -> None:
    await store.set(SetRequest("k", b"1"))
    line.hold()
    waiting = [asyncio.ensure_future(store.get(GetRequest("k"))) for _ in range(10)]
    await asyncio.sleep(0.1)
    line.cut()
    line.release()
    async with asyncio.timeout(system.seconds + SLACK):
        await asyncio.gather(*waiting, return_exceptions=True)
    assert await works_again(store) == b"1"


async def test_cancelled_callers_leave_no_answer_for_the_next(line: Proxy, store: Any) -> None:
    await store.bulk_set([SetRequest(f"k{n}", b"%d" % n) for n in range(20)])
    for _ in range(5):
        line.hold()
        waiting = [asyncio.ensure_future(store.get(GetRequest(f"k{n}"))) for n in range(20)]
        await asyncio.sleep(0.02)
        for one in waiting[::2]:
            one.cancel()
        line.release()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        for n, result in enumerate(results):
            if not isinstance(result, BaseException):
                assert result.data == b"%d" % n  # type: ignore[attr-defined]
    found = await asyncio.gather(*(store.get(GetRequest(f"k{n}")) for n in range(20)))
    assert [one.data for one in found] == [b"%d" % n for n in range(20)]


async def test_nobody_listens(system: System) -> None:
    with socket.socket() as claim:
        claim.bind(("127.0.0.1", 0))
        port = int(claim.getsockname()[1])
        store = system.store(port)
        error = await fails_in_time(system, store.open())
        assert f"127.0.0.1:{port}" in str(error)
        await store.close()


async def test_nobody_answers(system: System) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(100)
        port = int(silent.getsockname()[1])
        store = system.store(port)
        error = await fails_in_time(system, store.open())
        assert f"127.0.0.1:{port}" in str(error)
        await store.close()
