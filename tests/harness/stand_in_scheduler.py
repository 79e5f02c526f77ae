"""A small scheduler service in memory, for tests: the real one is a Go program.

``python stand_in_scheduler.py --port=… --healthz-port=…`` speaks the protocol on one port and
answers ``/healthz`` on another. One instance, no disk: everything is forgotten when it ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from croniter import croniter

from dapr_common.durations import parse_go_duration
from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, GrpcServer, Method
from dapr_common.wire.dapr.proto.scheduler.v1 import scheduler_pb2 as pb
from dapr_sidecar.blocks.actors.times import TimeFormatError, parse_moment

SERVICE = "/dapr.proto.scheduler.v1.Scheduler/"
_WORDS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_SUCCESS = pb.WatchJobsRequestResultStatus.SUCCESS
_JOB, _REMINDER = (
    pb.JobTargetType.JOB_TARGET_TYPE_JOB,
    pb.JobTargetType.JOB_TARGET_TYPE_ACTOR_REMINDER,
)


@dataclass(eq=False)
class Kept:
    """One job, and the task that runs it."""

    key: str
    name: str
    job: pb.Job
    metadata: pb.JobMetadata
    task: asyncio.Task[None] | None = None


@dataclass(eq=False)
class Watcher:
    """One open stream."""

    initial: pb.WatchJobsRequestInitial
    outgoing: asyncio.Queue[pb.WatchJobsResponse] = field(default_factory=asyncio.Queue)
    answers: dict[int, asyncio.Future[bool]] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def takes(self, metadata: pb.JobMetadata) -> bool:
        if self.initial.namespace != metadata.namespace:
            return False
        accepted = set(self.initial.accept_job_types) or {_JOB}
        if metadata.target.WhichOneof("type") == "actor":
            return _REMINDER in accepted and metadata.target.actor.type in self.initial.actor_types
        return _JOB in accepted and self.initial.app_id == metadata.app_id


class StandInScheduler:
    """The service. ``triggered`` counts what was sent, by job name."""

    def __init__(self) -> None:
        self.address = ""
        self.jobs: dict[str, Kept] = {}
        self.triggered: dict[str, int] = {}
        self.watchers: list[Watcher] = []
        self._appeared = asyncio.Condition()
        self._turn = 0
        # Sidecars ping every 3 s.
        self.server = GrpcServer(max_receive_bytes=4 << 20, min_client_ping_interval=1.0)
        for name, kind in (
            ("ScheduleJob", "unary_unary"),
            ("GetJob", "unary_unary"),
            ("DeleteJob", "unary_unary"),
            ("ListJobs", "unary_unary"),
            ("DeleteByMetadata", "unary_unary"),
            ("DeleteByNamePrefix", "unary_unary"),
            ("WatchHosts", "unary_stream"),
            ("WatchJobs", "stream_stream"),
        ):
            request, response = getattr(pb, f"{name}Request"), getattr(pb, f"{name}Response")
            handler = getattr(self, _snake(name))
            self.server.add(Method(SERVICE + name, kind, request, response, handler))  # type: ignore[arg-type]

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        bound = await self.server.listen_tcp(host, port, ssl=tls)
        self.address = f"{host}:{bound}"
        return bound

    async def close(self) -> None:
        for kept in self.jobs.values():
            if kept.task is not None:
                kept.task.cancel()
        await self.server.close(0)

    # --- the service ------------------------------------------------------------------------

    async def schedule_job(
        self, request: pb.ScheduleJobRequest, context: Context
    ) -> pb.ScheduleJobResponse:
        key = _key(request.name, request.metadata)
        first, expires = _validated(request.job, time.time())
        if not request.overwrite and key in self.jobs:
            raise RpcError(GrpcCode.ALREADY_EXISTS, f"job already exists: '{key}'")
        job = pb.Job()
        job.CopyFrom(request.job)
        if not job.HasField("failure_policy"):
            job.failure_policy.constant.interval.seconds = 1
            job.failure_policy.constant.max_retries = 3
        self._remove(key)
        kept = self.jobs[key] = Kept(key, request.name, job, request.metadata)
        kept.task = asyncio.create_task(self._run(kept, first, expires))
        return pb.ScheduleJobResponse()

    async def get_job(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:
        kept = self.jobs.get(_key(request.name, request.metadata))
        if kept is None:
            raise RpcError(GrpcCode.NOT_FOUND, f"job not found: {request.name}")
        return pb.GetJobResponse(job=kept.job)

    async def delete_job(
        self, request: pb.DeleteJobRequest, context: Context
    ) -> pb.DeleteJobResponse:
        self._remove(_key(request.name, request.metadata))
        return pb.DeleteJobResponse()

    async def list_jobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        found = self._matching(request.metadata, prefix=not request.metadata.target.actor.id)
        return pb.ListJobsResponse(
            jobs=[pb.NamedJob(name=k.name, metadata=k.metadata, job=k.job) for k in found]
        )

    async def delete_by_metadata(
        self, request: pb.DeleteByMetadataRequest, context: Context
    ) -> pb.DeleteByMetadataResponse:
        for kept in self._matching(request.metadata, prefix=request.id_prefix_match):
            self._remove(kept.key)
        return pb.DeleteByMetadataResponse()

    async def delete_by_name_prefix(
        self, request: pb.DeleteByNamePrefixRequest, context: Context
    ) -> pb.DeleteByNamePrefixResponse:
        for kept in self._matching(request.metadata, prefix=True):
            if kept.name.startswith(request.name_prefix):
                self._remove(kept.key)
        return pb.DeleteByNamePrefixResponse()

    async def watch_hosts(
        self, request: pb.WatchHostsRequest, context: Context
    ) -> AsyncIterator[pb.WatchHostsResponse]:
        yield pb.WatchHostsResponse(hosts=[pb.Host(address=self.address)])
        await asyncio.Event().wait()

    async def watch_jobs(
        self, requests: AsyncIterator[pb.WatchJobsRequest], context: Context
    ) -> AsyncIterator[pb.WatchJobsResponse]:
        initial = (await anext(requests)).initial
        if len(set(initial.actor_types)) != len(initial.actor_types):
            raise RpcError(GrpcCode.INVALID_ARGUMENT, "duplicate actor types")
        watcher = Watcher(initial)
        reader = asyncio.create_task(_read_results(watcher, requests))
        async with self._appeared:
            self.watchers.append(watcher)
            self._appeared.notify_all()
        sending: asyncio.Task[pb.WatchJobsResponse] | None = None
        try:
            while True:
                sending = asyncio.create_task(watcher.outgoing.get())
                done, _ = await asyncio.wait([sending, reader], return_when=asyncio.FIRST_COMPLETED)
                if sending not in done:
                    return
                yield sending.result()
        finally:
            reader.cancel()
            if sending is not None:
                sending.cancel()
            self.watchers.remove(watcher)
            for answer in watcher.answers.values():
                if not answer.done():
                    answer.set_result(False)

    # --- what is due ------------------------------------------------------------------------

    async def _run(self, kept: Kept, due: float, expires: float | None) -> None:
        left = kept.job.repeats if kept.job.HasField("repeats") else None
        while expires is None or due <= expires:
            await asyncio.sleep(max(due - time.time(), 0))
            await self._deliver(kept)
            if left is not None:
                left -= 1
            if not kept.job.schedule or left == 0:
                break
            due = max(_following(kept.job.schedule, due), time.time())
        if self.jobs.get(kept.key) is kept:
            del self.jobs[kept.key]

    async def _deliver(self, kept: Kept) -> None:
        policy = kept.job.failure_policy
        failures = 0
        while not await self._trigger(kept):
            failures += 1
            if policy.WhichOneof("policy") == "drop":
                return
            constant = policy.constant
            if constant.HasField("max_retries") and failures > constant.max_retries:
                return
            await asyncio.sleep(constant.interval.ToTimedelta().total_seconds())

    async def _trigger(self, kept: Kept) -> bool:
        watcher = await self._watcher(kept.metadata)
        number = next(watcher.numbers)
        answer = watcher.answers[number] = asyncio.get_running_loop().create_future()
        self.triggered[kept.name] = self.triggered.get(kept.name, 0) + 1
        watcher.outgoing.put_nowait(
            pb.WatchJobsResponse(
                name=kept.name, id=number, data=kept.job.data, metadata=kept.metadata
            )
        )
        return await answer

    async def _watcher(self, metadata: pb.JobMetadata) -> Watcher:
        async with self._appeared:
            while True:
                fit = [one for one in self.watchers if one.takes(metadata)]
                if fit:
                    self._turn += 1
                    return fit[self._turn % len(fit)]
                await self._appeared.wait()

    def _matching(self, metadata: pb.JobMetadata, *, prefix: bool) -> list[Kept]:
        kind = metadata.target.WhichOneof("type")
        found = []
        for kept in self.jobs.values():
            own = kept.metadata
            if own.namespace != metadata.namespace or own.target.WhichOneof("type") != kind:
                continue
            if kind == "actor":
                wanted, has = metadata.target.actor, own.target.actor
                fits = has.id.startswith(wanted.id) if prefix else has.id == wanted.id
                if has.type == wanted.type and fits:
                    found.append(kept)
            elif own.app_id == metadata.app_id:
                found.append(kept)
        return found

    def _remove(self, key: str) -> None:
        kept = self.jobs.pop(key, None)
        if kept is not None and kept.task is not None and kept.task is not asyncio.current_task():
            kept.task.cancel()


async def _read_results(watcher: Watcher, requests: AsyncIterator[pb.WatchJobsRequest]) -> None:
    with contextlib.suppress(RpcError):
        async for request in requests:
            answer = watcher.answers.pop(request.result.id, None)
            if answer is not None and not answer.done():
                answer.set_result(request.result.status == _SUCCESS)


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _key(name: str, metadata: pb.JobMetadata) -> str:
    if not metadata.namespace or not metadata.app_id:
        raise RpcError(GrpcCode.INVALID_ARGUMENT, "missing namespace or appID in request")
    if metadata.target.WhichOneof("type") == "actor":
        actor = metadata.target.actor
        return f"actorreminder||{metadata.namespace}||{actor.type}||{actor.id}||{name}"
    return f"app||{metadata.namespace}||{metadata.app_id}||{name}"


def _validated(job: pb.Job, now: float) -> tuple[float, float | None]:
    """The first run and the end, or the error of the real service."""
    if not job.schedule and not job.due_time:
        raise _invalid("job must have either a due time or a schedule")
    if job.HasField("repeats") and (not job.schedule or job.repeats < 1):
        raise _invalid("repeats must be greater than 0 and needs a schedule")
    try:
        following = _following(job.schedule, now) if job.schedule else now
    except (ValueError, KeyError) as error:
        raise _invalid(f"schedule not recognized: {error}") from error
    try:
        first = parse_moment(job.due_time, now) if job.due_time else following
    except TimeFormatError as error:
        raise _invalid("due time format not recognized") from error
    if not job.HasField("ttl"):
        return first, None
    if not job.schedule:
        raise _invalid("ttl needs a schedule")
    try:
        expires = parse_moment(job.ttl, now)
    except TimeFormatError as error:
        raise _invalid("ttl format not recognized") from error
    if expires <= first:
        raise _invalid("ttl must be after due time")
    return first, expires


def _invalid(text: str) -> RpcError:
    return RpcError(GrpcCode.UNKNOWN, f"job failed validation: {text}")


def _following(schedule: str, moment: float) -> float:
    if schedule.startswith("@every "):
        return moment + parse_go_duration(schedule.removeprefix("@every ")).total_seconds()
    fields = _WORDS.get(schedule, schedule)
    if len(fields.split()) != 6:
        raise ValueError(f"expected exactly 6 fields, found {len(fields.split())}: [{schedule}]")
    return float(croniter(fields, moment, second_at_beginning=True).get_next(float))


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=50006)
    parser.add_argument("--listen-address", default="127.0.0.1")
    parser.add_argument("--healthz-port", type=int, default=8080)
    parser.add_argument("--healthz-listen-address", default="127.0.0.1")
    options, _ = parser.parse_known_args()  # the real program has more
    scheduler = StandInScheduler()
    await scheduler.listen(options.listen_address or "127.0.0.1", options.port)
    health = await asyncio.start_server(
        _healthy, options.healthz_listen_address, options.healthz_port
    )
    async with health:
        await health.serve_forever()


async def _healthy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(_main())
