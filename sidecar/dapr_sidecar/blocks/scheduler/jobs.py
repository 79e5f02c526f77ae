"""What the Jobs API means, and how jobs that are due reach the app."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any
from urllib.parse import quote

import orjson
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.json_text import whole_numbers
from dapr_common.observe.logs import get_logger
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import appcallback_pb2, jobs_pb2
from dapr_common.wire.dapr.proto.scheduler.v1 import scheduler_pb2 as pb
from dapr_sidecar.blocks.scheduler import errors
from dapr_sidecar.blocks.scheduler.policies import paced
from dapr_sidecar.blocks.scheduler.reminders import job_metadata
from dapr_sidecar.channel.base import GrpcAppChannel, HttpAppChannel
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.messaging.scheduler import SchedulerHosts

_LOG = get_logger("dapr.runtime.scheduler")
_JSON = (b"Content-Type", b"application/json")
_ON_JOB = "/dapr.proto.runtime.v1.AppCallback/OnJobEvent"
_ON_JOB_ALPHA = "/dapr.proto.runtime.v1.AppCallbackAlpha/OnJobEventAlpha1"
_DELIVERY_SECONDS = 3600.0
"""So long an app may take for a job at the most: one that never answers must not hold a place."""
_MEMBERS = ("schedule", "repeats", "due_time", "ttl")


class Jobs:
    """Calls raise ``DaprError``; ``hosts`` is ``None`` where no scheduler is configured."""

    def __init__(self, context: SidecarContext, hosts: SchedulerHosts | None) -> None:
        self._context = context
        self._hosts = hosts

    async def schedule(self, job: jobs_pb2.Job, *, overwrite: bool) -> None:
        """Store a job."""
        identity = self._context.identity
        self._check_name(job.name)
        if not job.schedule and not job.due_time:
            raise errors.bad(identity, "DAPR_SCHEDULER_SCHEDULE_EMPTY", "Schedule is empty")
        kept = pb.Job()
        for name in _MEMBERS:
            if job.HasField(name):
                setattr(kept, name, getattr(job, name))
        if job.HasField("data"):
            kept.data.CopyFrom(job.data)
        if job.HasField("failure_policy"):
            kept.failure_policy.CopyFrom(paced(job.failure_policy))
        message = pb.ScheduleJobRequest(
            name=job.name, job=kept, metadata=self._metadata(), overwrite=overwrite
        )
        try:
            await self._call("ScheduleJob", message, pb.ScheduleJobResponse)
        except (RpcError, errors.SchedulerDisabledError) as error:
            raise errors.schedule_failed(identity, error) from error

    async def get(self, name: str) -> jobs_pb2.Job:
        """One job."""
        self._check_name(name)
        message = pb.GetJobRequest(name=name, metadata=self._metadata())
        found = await self._told("get job", "DAPR_SCHEDULER_GET_JOB", "GetJob", message)
        return _shown(name, found.job)

    async def delete(self, name: str) -> None:
        """Delete one; a missing one is fine."""
        self._check_name(name)
        message = pb.DeleteJobRequest(name=name, metadata=self._metadata())
        await self._told("delete job", "DAPR_SCHEDULER_DELETE_JOB", "DeleteJob", message)

    async def delete_by_prefix(self, prefix: str) -> None:
        """Delete those whose names begin so; all of the app with an empty one."""
        message = pb.DeleteByNamePrefixRequest(name_prefix=prefix, metadata=self._metadata())
        await self._told("delete job", "DAPR_SCHEDULER_DELETE_JOB", "DeleteByNamePrefix", message)

    async def list(self) -> list[jobs_pb2.Job]:
        """Every job of the app."""
        message = pb.ListJobsRequest(metadata=self._metadata())
        found = await self._told("list jobs", "DAPR_SCHEDULER_LIST_JOBS", "ListJobs", message)
        return [_shown(one.name, one.job) for one in found.jobs]

    def check_there(self, there: bool) -> None:
        """A request without a job at all."""
        if not there:
            raise errors.bad(self._context.identity, "DAPR_SCHEDULER_EMPTY", "Job is empty")

    def check_no_name(self, name: str) -> None:
        """A body that names the job again."""
        if name:
            raise errors.name_in_body(self._context.identity)

    # --- a job is due -----------------------------------------------------------------------

    async def fire(self, due: pb.WatchJobsResponse) -> bool:
        """Give a job to the app. Returns whether it is done with."""
        started, success, done = perf_counter(), False, False
        try:
            async with asyncio.timeout(_DELIVERY_SECONDS) as limit:
                success, done = await self._deliver(due)
        except Exception as error:  # noqa: BLE001 - whatever keeps the app from taking it
            cause = f"no answer within {_DELIVERY_SECONDS:g} s" if limit.expired() else error
            _LOG.error("job %s could not be given to the app: %s", due.name, cause)
        elapsed = (perf_counter() - started) * 1000
        self._context.metrics.job("trigger", success, elapsed)
        return done

    async def _deliver(self, due: pb.WatchJobsResponse) -> tuple[bool, bool]:
        channel = self._context.channel
        if channel is None:
            raise RpcError(GrpcCode.INTERNAL, "app channel is not initialized")
        if channel.kind == "http":
            return await _over_http(channel, due)
        return await _over_grpc(channel, due)

    # --- inside -----------------------------------------------------------------------------

    def _check_name(self, name: str) -> None:
        if not name:
            raise errors.bad(
                self._context.identity, "DAPR_SCHEDULER_JOB_NAME_EMPTY", "Name is empty"
            )

    def _metadata(self) -> pb.JobMetadata:
        return job_metadata(self._context.identity, pb.JobTargetMetadata(job=pb.TargetJob()))

    async def _told(self, verb: str, code: str, method: str, message: Message) -> Any:
        answer: type[Message] = getattr(pb, f"{method}Response")
        try:
            return await self._call(method, message, answer)
        except (RpcError, errors.SchedulerDisabledError) as error:
            raise errors.failed(self._context.identity, verb, code, error) from error

    async def _call(self, method: str, message: Message, answer: type[Message]) -> Any:
        if self._hosts is None:
            raise errors.SchedulerDisabledError
        return await self._hosts.call(method, message, answer)


def _shown(name: str, job: pb.Job) -> jobs_pb2.Job:
    shown = jobs_pb2.Job(name=name)
    for member in _MEMBERS:
        if job.HasField(member):
            setattr(shown, member, getattr(job, member))
    if job.HasField("data"):
        shown.data.CopyFrom(job.data)
    if job.HasField("failure_policy"):
        shown.failure_policy.CopyFrom(job.failure_policy)
    return shown


async def _over_http(channel: HttpAppChannel, due: pb.WatchJobsResponse) -> tuple[bool, bool]:
    target = f"/job/{quote(due.name, safe='')}".encode()
    response = await channel.request("POST", target, [_JSON], _body(due.data))
    body = await response.read()
    if 200 <= response.status < 300:
        return True, True
    text = body[:1000].decode("utf-8", "replace")
    _LOG.error("job %s: the app answered %d %s", due.name, response.status, text)
    return False, response.status == 404  # who does not know a job will not know it later


async def _over_grpc(channel: GrpcAppChannel, due: pb.WatchJobsResponse) -> tuple[bool, bool]:
    message = appcallback_pb2.JobEventRequest(
        name=due.name,
        data=due.data,
        method=f"job/{due.name}",
        content_type=due.data.type_url,
        http_extension=common_pb2.HTTPExtension(verb=common_pb2.HTTPExtension.POST),
    )
    answer = appcallback_pb2.JobEventResponse
    try:
        try:
            await channel.unary(_ON_JOB, message, answer)
        except RpcError as error:
            if error.code is not GrpcCode.UNIMPLEMENTED:
                raise
            await channel.unary(_ON_JOB_ALPHA, message, answer)
    except RpcError as error:
        if error.code is not GrpcCode.NOT_FOUND:
            raise
        _LOG.error("job %s: the app does not know it: %s", due.name, error.message)
        return False, True
    return True, True


def _body(data: any_pb2.Any) -> bytes:
    """JSON of a value that came as JSON; the bytes of anything else."""
    if data.type_url.endswith("google.protobuf.Value"):
        from google.protobuf import json_format, struct_pb2

        try:
            value = json_format.MessageToDict(struct_pb2.Value.FromString(data.value))
            return orjson.dumps(whole_numbers(value), option=orjson.OPT_SORT_KEYS)
        except (DecodeError, ValueError):
            pass
    return data.value
