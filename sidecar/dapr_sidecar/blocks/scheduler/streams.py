"""The streams on which schedulers say what is due, and hear how it went."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from dapr_common.grpc.client import Call
from dapr_common.grpc.errors import RpcError
from dapr_common.observe.logs import get_logger
from dapr_common.wire.dapr.proto.scheduler.v1 import scheduler_pb2 as pb
from dapr_sidecar.identity import SidecarIdentity
from dapr_sidecar.messaging.scheduler import SERVICE, SchedulerHosts

_LOG = get_logger("dapr.runtime.scheduler")
_AT_A_TIME = 500
_AGAIN_SECONDS = (0.5, 1.5)
_RETIRE_SECONDS = 5.0

Handle = Callable[[pb.WatchJobsResponse], Awaitable[bool]]
"""Does what is due. Returns whether it went well."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What this sidecar takes: jobs of its app, reminders of these actor types."""

    jobs: bool = False
    actor_types: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.jobs or bool(self.actor_types)

    def initial(self, identity: SidecarIdentity) -> pb.WatchJobsRequest:
        """The first message of a stream."""
        kinds = [pb.JobTargetType.JOB_TARGET_TYPE_JOB] if self.jobs else []
        if self.actor_types:
            kinds.append(pb.JobTargetType.JOB_TARGET_TYPE_ACTOR_REMINDER)
        return pb.WatchJobsRequest(
            initial=pb.WatchJobsRequestInitial(
                app_id=identity.app_id,
                namespace=identity.invocation_namespace,
                actor_types=self.actor_types,
                accept_job_types=kinds,
            )
        )


class JobStreams:
    """Keeps ``per_host`` streams to every instance, opened anew when what is wanted changes."""

    def __init__(
        self, identity: SidecarIdentity, hosts: SchedulerHosts, handle: Handle, per_host: int
    ) -> None:
        self._identity = identity
        self._hosts = hosts
        self._handle = handle
        self._per_host = max(per_host, 1)
        self._wanted = Wanted()
        self._changed = asyncio.Event()
        self._room = asyncio.Semaphore(_AT_A_TIME)
        self._open: dict[tuple[str, int], _Stream] = {}
        self._retired: set[_Stream] = set()
        hosts.changed = self._changed.set

    @property
    def wanted(self) -> Wanted:
        """What is taken now."""
        return self._wanted

    def want(self, wanted: Wanted) -> None:
        """Take this from now on."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()

    async def run(self) -> None:
        """Keep the streams open."""
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                self._adjust()
        finally:
            streams = [*self._open.values(), *self._retired]
            await asyncio.gather(*(stream.close() for stream in streams))

    def _adjust(self) -> None:
        wanted = self._wanted
        needed = {(a, n) for a in self._hosts.addresses for n in range(self._per_host)}
        for key, stream in list(self._open.items()):
            if key not in needed or stream.wanted != wanted:
                self._retire(self._open.pop(key))
        if wanted:
            for key in needed - self._open.keys():
                self._open[key] = _Stream(
                    self._hosts, key[0], wanted, self._identity, self._handle, self._room
                )

    def _retire(self, stream: _Stream) -> None:
        """What it brought may end and be answered."""
        self._retired.add(stream)
        stream.retire(lambda: self._retired.discard(stream))


class _Stream:
    """One stream to one instance; comes back when it ends."""

    def __init__(
        self,
        hosts: SchedulerHosts,
        address: str,
        wanted: Wanted,
        identity: SidecarIdentity,
        handle: Handle,
        room: asyncio.Semaphore,
    ) -> None:
        self.wanted = wanted
        self._hosts = hosts
        self._address = address
        self._identity = identity
        self._handle = handle
        self._room = room
        self._work: set[asyncio.Task[None]] = set()
        self._retiring = False
        self._idle = asyncio.Event()
        self._failure = ""
        self._task = asyncio.create_task(self._run(), name="scheduler-jobs")
        self._end: asyncio.Task[None] | None = None

    def retire(self, ended: Callable[[], None]) -> None:
        """Take nothing new for long; end when nothing runs any more."""
        self._end = asyncio.create_task(self._retire(), name="scheduler-jobs-end")
        self._end.add_done_callback(lambda _: ended())

    async def close(self) -> None:
        """End now."""
        tasks = [self._task, *self._work]
        if self._end is not None:
            tasks.append(self._end)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _retire(self) -> None:
        self._retiring = True
        if self._work:
            self._idle.clear()  # it was idle now and then before
            try:
                async with asyncio.timeout(_RETIRE_SECONDS):
                    await self._idle.wait()
            except TimeoutError:
                pass
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._work:
            await asyncio.wait(self._work)  # until then they are this stream's to end

    async def _run(self) -> None:
        while not self._retiring:
            channel = self._hosts.channel(self._address)
            if channel is None:
                return
            try:
                async with await channel.open(SERVICE + "WatchJobs") as call:
                    await call.send(self.wanted.initial(self._identity))
                    self._failure = ""
                    await self._take_all(call)
            except (RpcError, OSError, DecodeError, UnicodeError) as error:
                self._explain(error)
            await asyncio.sleep(random.uniform(*_AGAIN_SECONDS))  # noqa: S311 - a pause

    def _explain(self, error: Exception) -> None:
        text = f"{self._address}: {error or type(error).__name__}"
        level = _LOG.debug if text == self._failure else _LOG.warning
        level("a stream of due jobs ended, it is opened again: %s", text)
        self._failure = text

    async def _take_all(self, call: Call) -> None:
        async for raw in call:
            due = pb.WatchJobsResponse.FromString(raw)
            await self._room.acquire()
            task = asyncio.create_task(self._answer(call, due), name="scheduler-job")
            self._work.add(task)
            task.add_done_callback(self._ended)

    async def _answer(self, call: Call, due: pb.WatchJobsResponse) -> None:
        try:
            success = await self._handle(due)
        except Exception:  # noqa: BLE001 - a defect must not end the stream
            _LOG.exception("job %s could not be run", due.name)
            success = False
        kinds = pb.WatchJobsRequestResultStatus
        result = pb.WatchJobsRequestResult(
            id=due.id, status=kinds.SUCCESS if success else kinds.FAILED
        )
        try:
            await call.send(pb.WatchJobsRequest(result=result))
        except RpcError:
            _LOG.debug("the stream of job %s ended before its result was told", due.name)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._room.release()
        self._work.discard(task)
        if not self._work:
            self._idle.set()
