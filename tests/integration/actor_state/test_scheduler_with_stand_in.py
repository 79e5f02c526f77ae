"""Reminders and jobs through a scheduler. The service is a stand-in; the sidecars are real."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.actor_hosts import Host, host, sqlite
from harness.block_api import make_context
from harness.component_table import until
from harness.http_call import call
from harness.placement_process import Placement
from harness.programs import Program, free_port
from harness.sidecar import Sidecar
from harness.stand_in_scheduler import StandInScheduler

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.dapr.proto.runtime.v1 import jobs_pb2
from dapr_common.wire.dapr.proto.scheduler.v1 import scheduler_pb2 as pb
from dapr_sidecar.blocks.scheduler.streams import JobStreams, Wanted
from dapr_sidecar.messaging import scheduler as scheduler_hosts
from dapr_sidecar.messaging.scheduler import SchedulerHosts

SERVICE = "/dapr.proto.runtime.v1.Dapr/"


def wait(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"not true after {seconds:g} s"
        time.sleep(0.02)


class SchedulerProcess(Program):
    def __init__(self, port: int = 0) -> None:
        self.port = port or free_port()
        self.health_port = free_port()
        script = str(Path(__file__).parents[2] / "harness" / "stand_in_scheduler.py")
        flags = [f"--port={self.port}", f"--healthz-port={self.health_port}", "--id=s0"]
        super().__init__(
            [sys.executable, script, *flags], name="stand-in scheduler", exit_code=None
        )

    def is_ready(self) -> bool:
        try:
            return call(self.health_port, "GET", "/healthz").status == 200
        except OSError:
            return False

    @property
    def flag(self) -> str:
        return f"--scheduler-host-address=127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def scheduler() -> Iterator[SchedulerProcess]:
    with SchedulerProcess() as found:
        yield found


@pytest.fixture(scope="module")
def placement() -> Iterator[Placement]:
    with Placement() as found:
        yield found


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, placement: Placement, scheduler: SchedulerProcess
) -> Iterator[tuple[Host, Host]]:
    resources = sqlite(tmp_path_factory.mktemp("store"))
    flags = (f"--placement-host-address={placement.address}", scheduler.flag)
    with host(resources, *flags) as one, host(resources, *flags) as two:
        yield one, two


def test_reminders_reach_actors_of_both_sidecars(pair: tuple[Host, Host]) -> None:
    one, two = pair
    for number in range(20):
        one.remind(str(number), "r", dueTime="1s", data={"n": number})
    wait(lambda: len(one.fired() + two.fired()) >= 20)
    reports = [*one.app.reports(), *two.app.reports()]
    bodies = {line["body"] for line in reports if "/remind/r" in line["path"]}
    assert '{"data":{"n":3},"dueTime":"","period":""}' in bodies
    assert one.fired()
    assert two.fired()


def test_a_reminder_as_the_scheduler_keeps_it(pair: tuple[Host, Host]) -> None:
    one, _ = pair
    path = "/v1.0/actors/T/k/reminders/kept"
    body = {"dueTime": "1h", "period": "R5/PT90S", "ttl": "2100-01-01T00:00:00Z", "data": "x"}
    assert one.call("POST", path, body).status == 204
    assert one.call("GET", path).json == {
        "actorID": "k",
        "actorType": "T",
        "data": "x",
        "dueTime": "1h",
        "period": "@every 1m30s",
        "ttl": "2100-01-01T00:00:00Z",
    }
    again = one.call("POST", path, {**body, "overwrite": False})
    assert (again.status, again.code) == (409, "ERR_ACTOR_REMINDER_ALREADY_EXISTS")
    assert one.call("DELETE", path).status == 204
    assert one.call("GET", path).code == "ERR_ACTOR_REMINDER_NOT_FOUND"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"dueTime": "1s", "period": "P1D"}, "unsupported period format: P1D"),
        ({}, "job failed validation: job must have either a due time or a schedule"),
        ({"dueTime": "whenever"}, "job failed validation: due time format not recognized"),
    ],
)
def test_reminders_that_cannot_be(pair: tuple[Host, Host], body: dict[str, str], text: str) -> None:
    answer = pair[0].call("POST", "/v1.0/actors/T/k/reminders/bad", body)
    assert (answer.status, answer.code) == (500, "ERR_ACTOR_REMINDER_CREATE")
    assert answer.json["message"].endswith(text)


def test_the_metadata_api_names_the_scheduler(
    pair: tuple[Host, Host], scheduler: SchedulerProcess
) -> None:
    shown = pair[0].call("GET", "/v1.0/metadata").json
    assert shown["scheduler"] == {"connected_addresses": [f"127.0.0.1:{scheduler.port}"]}


def test_a_sidecar_is_not_ready_before_it_found_its_scheduler() -> None:
    late = SchedulerProcess()
    with Sidecar(flags=[late.flag], ready="healthz/outbound") as sidecar:
        answer = call(sidecar.http_port, "GET", "/v1.0/healthz")
        assert (answer.status, answer.code) == (500, "ERR_HEALTH_NOT_READY")
        assert "scheduler-watch-hosts" in answer.json["message"]
        with late:
            wait(lambda: sidecar.get_status("/v1.0/healthz") == 204)


def test_jobs_over_http(pair: tuple[Host, Host]) -> None:
    one, two = pair
    path = "/v1.0/jobs/daily"
    data = {"a": 1, "b": [2.5, 12345678901234568]}
    assert one.call("POST", path, {"dueTime": "1h", "data": data}).status == 204
    assert b'"b":[2.5,12345678901234568]' in one.call("GET", path).body
    now = {"dueTime": "0s", "data": data, "overwrite": True}
    assert one.call("POST", path, now).status == 204

    def given() -> list[dict[str, Any]]:
        reports = [*one.app.reports(), *two.app.reports()]
        return [line for line in reports if line["path"] == "/job/daily"]

    wait(lambda: bool(given()))
    # Numbers have no fraction that was not given: many languages read no integer from "1.0".
    assert given()[0]["body"] == '{"a":1,"b":[2.5,12345678901234568]}'
    wait(lambda: one.call("GET", path).status == 500)  # done with, and gone


async def test_jobs_over_grpc(pair: tuple[Host, Host]) -> None:
    channel = GrpcChannel(pair[0].sidecar.grpc_address)
    try:
        for name in ("a1", "a2", "b1"):
            job = jobs_pb2.Job(name=name, schedule="@hourly")
            request = jobs_pb2.ScheduleJobRequest(job=job)
            await channel.unary(SERVICE + "ScheduleJob", request, jobs_pb2.ScheduleJobResponse)
        with pytest.raises(RpcError) as twice:
            await channel.unary(SERVICE + "ScheduleJob", request, jobs_pb2.ScheduleJobResponse)
        assert twice.value.code is GrpcCode.ALREADY_EXISTS
        prefix = jobs_pb2.DeleteJobsByPrefixRequest(name_prefix="a")
        await channel.unary(SERVICE + "DeleteJobsByPrefix", prefix)
        found = await channel.unary(
            SERVICE + "ListJobs", jobs_pb2.ListJobsRequest(), jobs_pb2.ListJobsResponse
        )
        assert [job.name for job in found.message.jobs] == ["b1"]
        with pytest.raises(RpcError) as empty:
            await channel.unary(SERVICE + "ScheduleJob", jobs_pb2.ScheduleJobRequest())
        assert (empty.value.code, empty.value.message) == (
            GrpcCode.INVALID_ARGUMENT,
            "Job is empty",
        )
    finally:
        await channel.close()


# --- the client's parts, in this process ----------------------------------------------------


@pytest.fixture
async def near() -> AsyncIterator[StandInScheduler]:
    found = StandInScheduler()
    await found.listen("127.0.0.1", 0)
    yield found
    await found.close()


class Client:
    """Hosts and streams towards a scheduler of the test."""

    def __init__(self, near: StandInScheduler, handle: Any) -> None:
        self.hosts = SchedulerHosts([near.address], None)
        self.streams = JobStreams(make_context().identity, self.hosts, handle, 1)
        self.tasks = [
            asyncio.create_task(self.hosts.run()),
            asyncio.create_task(self.streams.run()),
        ]

    async def schedule(self, name: str, **job: Any) -> None:
        metadata = pb.JobMetadata(
            app_id="app1", namespace="default", target=pb.JobTargetMetadata(job=pb.TargetJob())
        )
        request = pb.ScheduleJobRequest(name=name, job=pb.Job(**job), metadata=metadata)
        await self.hosts.call("ScheduleJob", request, pb.ScheduleJobResponse)

    async def close(self) -> None:
        for task in reversed(self.tasks):
            task.cancel()
            await asyncio.wait([task])


async def test_what_is_due_waits_until_somebody_takes_it(near: StandInScheduler) -> None:
    taken: asyncio.Queue[str] = asyncio.Queue()

    async def handle(due: pb.WatchJobsResponse) -> bool:
        taken.put_nowait(due.name)
        return True

    client = Client(near, handle)
    await client.schedule("early", due_time="0s")
    assert not near.watchers
    client.streams.want(Wanted(jobs=True))
    assert await taken.get() == "early"
    client.streams.want(Wanted())
    await until(lambda: not near.watchers)
    await client.close()


async def test_a_failure_is_told_and_tried_again(near: StandInScheduler) -> None:
    tries = 0
    done = asyncio.Event()

    async def handle(_: pb.WatchJobsResponse) -> bool:
        nonlocal tries
        tries += 1
        if tries == 1:
            return False
        if tries == 2:
            raise RuntimeError("a defect")
        done.set()
        return True

    client = Client(near, handle)
    client.streams.want(Wanted(jobs=True))
    await client.schedule("often", due_time="0s")
    await done.wait()
    await until(lambda: not near.jobs)
    assert tries == 3
    await client.close()


async def test_other_types_are_told_on_a_new_stream_and_runs_of_the_old_one_end(
    near: StandInScheduler,
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def handle(due: pb.WatchJobsResponse) -> bool:
        if due.name == "slow":
            entered.set()
            await go_on.wait()
        return True

    client = Client(near, handle)
    client.streams.want(Wanted(jobs=True))
    await client.schedule("quick", due_time="0s")
    await until(lambda: near.triggered == {"quick": 1} and not near.jobs)  # it was idle before
    await client.schedule("slow", due_time="0s")
    await entered.wait()
    client.streams.want(Wanted(jobs=True, actor_types=("T",)))
    await until(lambda: len(near.watchers) == 2)
    assert list(near.watchers[-1].initial.actor_types) == ["T"]
    go_on.set()
    await until(lambda: len(near.watchers) == 1)
    assert near.triggered == {"quick": 1, "slow": 1}  # its result was heard, so it came once
    assert not near.jobs
    await client.close()


async def test_streams_come_back(near: StandInScheduler) -> None:
    taken: asyncio.Queue[str] = asyncio.Queue()

    async def handle(due: pb.WatchJobsResponse) -> bool:
        taken.put_nowait(due.name)
        return True

    client = Client(near, handle)
    client.streams.want(Wanted(jobs=True))
    await until(lambda: bool(near.watchers))
    for connection in list(near.server.connections):
        connection.abort()
    await until(lambda: not near.watchers)
    await client.schedule("after", due_time="0s")
    assert await taken.get() == "after"
    await client.close()


async def test_a_name_no_resolver_takes_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_hosts, "_AGAIN_SECONDS", (0.0, 0.0))
    hosts = SchedulerHosts(["a..b:1"], None)
    tried, connect = asyncio.Semaphore(0), hosts._connect

    def counting(address: str) -> GrpcChannel:
        tried.release()
        return connect(address)

    monkeypatch.setattr(hosts, "_connect", counting)
    running = asyncio.create_task(hosts.run())
    async with asyncio.timeout(10):
        for _ in range(3):
            await tried.acquire()
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])
