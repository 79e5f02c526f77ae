"""Jobs on their way to a scheduler and to the app, both of which are stand-ins."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.message import Message
from harness.block_api import make_context

from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import jobs_pb2
from dapr_common.wire.dapr.proto.scheduler.v1 import scheduler_pb2 as pb
from dapr_sidecar.blocks.scheduler import jobs as jobs_block
from dapr_sidecar.blocks.scheduler.jobs import Jobs


class StuckChannel:
    """To an app that takes calls and never answers."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.given_up = asyncio.Event()

    async def _stuck(self, *_: object) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up.set()

    request = unary = _stuck


@pytest.mark.parametrize("kind", ["http", "grpc"])
async def test_an_app_that_never_answers_does_not_hold_a_job_for_ever(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jobs_block, "_DELIVERY_SECONDS", 0.05)
    context = make_context()
    channel: Any = StuckChannel(kind)
    context.channel = channel
    async with asyncio.timeout(30):
        assert not await Jobs(context, None).fire(pb.WatchJobsResponse(name="j"))
    assert channel.given_up.is_set()
    assert "job j could not be given to the app: no answer within 0.05 s" in caplog.text


class RecordingHosts:
    """Takes what is scheduled."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    async def call(self, method: str, request: Message, answer: type[Message]) -> Message:
        self.requests.append(request)
        return answer()


async def test_a_policy_without_an_interval_reaches_the_scheduler_with_one() -> None:
    hosts: Any = RecordingHosts()
    policy = common_pb2.JobFailurePolicy(constant=common_pb2.JobFailurePolicyConstant())
    job = jobs_pb2.Job(name="j", due_time="1s", failure_policy=policy)
    await Jobs(make_context(), hosts).schedule(job, overwrite=False)
    assert hosts.requests[0].job.failure_policy.constant.interval.seconds == 1
