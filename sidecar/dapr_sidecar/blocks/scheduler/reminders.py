"""Reminders that a scheduler service keeps, where one is configured."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf import any_pb2, wrappers_pb2
from google.protobuf.message import DecodeError

from dapr_common.durations import format_go_duration
from dapr_common.errors import DaprError, GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.observe.logs import get_logger
from dapr_common.wire.dapr.proto.scheduler.v1 import scheduler_pb2 as pb
from dapr_sidecar.blocks.actors.base import ActorRef, ActorRouter, Callback
from dapr_sidecar.blocks.actors.reminder import ReminderRequest, ReminderView
from dapr_sidecar.blocks.actors.reminder_edits import AlreadyExistsError
from dapr_sidecar.blocks.actors.stored import ActorStore
from dapr_sidecar.blocks.actors.times import (
    TimeFormatError,
    format_moment,
    parse_moment,
    parse_period,
)
from dapr_sidecar.blocks.scheduler.policies import policy_message
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.identity import SidecarIdentity
from dapr_sidecar.messaging.scheduler import SchedulerHosts

_LOG = get_logger("dapr.runtime.actors.reminders")


class SchedulerReminders:
    """Implements ``ReminderKeeper``, and runs reminders that schedulers say are due."""

    def __init__(
        self,
        context: SidecarContext,
        store: ActorStore,
        hosts: SchedulerHosts,
        router: ActorRouter,
    ) -> None:
        self._context = context
        self._store = store
        self._hosts = hosts
        self._router = router

    def check(self) -> None:
        """Actors need their state store, wherever their reminders are."""
        self._store.check()

    async def create(self, request: ReminderRequest) -> None:
        """Schedule it. Raises ``ValueError`` for a period that cannot be used."""
        message = pb.ScheduleJobRequest(
            name=request.name,
            job=_job(request),
            metadata=self._metadata(request.ref),
            overwrite=request.overwrite,
        )
        try:
            await self._hosts.call("ScheduleJob", message, pb.ScheduleJobResponse)
        except RpcError as error:
            if error.code is GrpcCode.ALREADY_EXISTS:
                raise AlreadyExistsError(request.name) from error
            raise

    async def get(self, ref: ActorRef, name: str) -> ReminderView | None:
        """Ask for it."""
        message = pb.GetJobRequest(name=name, metadata=self._metadata(ref))
        try:
            found = await self._hosts.call("GetJob", message, pb.GetJobResponse)
        except RpcError as error:
            if error.code is GrpcCode.NOT_FOUND:
                return None
            raise
        return _view(ref, name, found.job)

    async def delete(self, ref: ActorRef, name: str) -> None:
        """Delete it; a missing one is fine."""
        message = pb.DeleteJobRequest(name=name, metadata=self._metadata(ref))
        await self._hosts.call("DeleteJob", message, pb.DeleteJobResponse)

    async def delete_all(self, actor_type: str, actor_id: str | None) -> None:
        """Delete all of an actor, or of the type."""
        message = pb.DeleteByMetadataRequest(
            metadata=self._metadata(ActorRef(actor_type, actor_id or "")),
            id_prefix_match=actor_id is None,
        )
        await self._hosts.call("DeleteByMetadata", message, pb.DeleteByMetadataResponse)

    async def list(self, actor_type: str, actor_id: str | None) -> list[ReminderView]:
        """Ask for all of an actor, or of the type."""
        message = pb.ListJobsRequest(metadata=self._metadata(ActorRef(actor_type, actor_id or "")))
        found = await self._hosts.call("ListJobs", message, pb.ListJobsResponse)
        views = []
        for one in found.jobs:
            target = one.metadata.target.actor
            if actor_id is None or target.id == actor_id:
                views.append(_view(ActorRef(actor_type, target.id), one.name, one.job))
        return views

    async def fire(self, due: pb.WatchJobsResponse) -> bool:
        """Run a reminder that is due; one that the app cancels is deleted."""
        target = due.metadata.target.actor
        ref = ActorRef(target.type, target.id)
        callback = Callback(ref, due.name, "reminder", _raw(due.data))
        success = False
        try:
            cancelled = await self._router.fire(callback)
            success = True
        except DaprError as error:
            _LOG.error("reminder %s of actor %s failed: %s", due.name, ref, error)
            return False
        finally:
            self._context.metrics.actors.reminder_fired(ref.type, success)
        if cancelled:
            await self._cancel(ref, due.name)
        return True

    async def _cancel(self, ref: ActorRef, name: str) -> None:
        try:
            await self.delete(ref, name)
        except RpcError as error:
            text = "reminder %s of actor %s, which the app cancelled, cannot be deleted: %s"
            _LOG.error(text, name, ref, error)

    def _metadata(self, ref: ActorRef) -> pb.JobMetadata:
        target = pb.JobTargetMetadata(actor=pb.TargetActorReminder(id=ref.id, type=ref.type))
        return job_metadata(self._context.identity, target)


def job_metadata(identity: SidecarIdentity, target: pb.JobTargetMetadata) -> pb.JobMetadata:
    """Whose a job is, and what it runs."""
    return pb.JobMetadata(
        app_id=identity.app_id, namespace=identity.invocation_namespace, target=target
    )


def _job(request: ReminderRequest) -> pb.Job:
    job = pb.Job()
    if request.period:
        schedule, repeats = _schedule(request)
        if schedule:
            job.schedule = schedule
        if repeats is not None:
            job.repeats = repeats
    if request.due_time:
        job.due_time = request.due_time
    if request.ttl:
        job.ttl = request.ttl
    if request.data is not None:
        job.data.Pack(wrappers_pb2.BytesValue(value=request.data))
    if request.failure_policy is not None:
        job.failure_policy.CopyFrom(policy_message(request.failure_policy))
    return job


def _schedule(request: ReminderRequest) -> tuple[str, int | None]:
    try:
        period = parse_period(request.period)
    except TimeFormatError as error:
        raise ValueError(f"invalid reminder period: parse error: {error}") from error
    if period.repeats == 0:
        raise ValueError(f"reminder {request.ref}||{request.name} has zero repetitions")
    if _has_date(request.period):
        raise ValueError(f"unsupported period format: {request.period}")
    if not period.recurs:
        return "", None
    return f"@every {format_go_duration(timedelta(seconds=period.seconds))}", period.repeats


def _has_date(period: str) -> bool:
    """Whether an ISO 8601 duration has more than hours, minutes and seconds."""
    _, mark, span = period.partition("P")
    return bool(mark) and not span.startswith("T")


def _view(ref: ActorRef, name: str, job: pb.Job) -> ReminderView:
    return ReminderView(ref, name, job.due_time, job.schedule, _ttl(job.ttl), _raw(job.data))


def _ttl(text: str) -> str:
    """A time to live is shown when it is a time."""
    if not text[:4].isdigit():
        return ""
    try:
        return format_moment(parse_moment(text, 0))
    except TimeFormatError:
        return ""


def _raw(data: any_pb2.Any) -> bytes | None:
    """The JSON that was given to the scheduler."""
    if not data.type_url:
        return None
    try:
        return wrappers_pb2.BytesValue.FromString(data.value).value or None
    except DecodeError:
        return data.value or None
