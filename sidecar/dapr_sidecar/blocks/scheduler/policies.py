"""Failure policies as schedulers get them: none repeats a run as fast as the app fails; pure."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf import duration_pb2

from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_sidecar.blocks.actors.reminder import FailurePolicy


def policy_message(policy: FailurePolicy) -> common_pb2.JobFailurePolicy:
    """A reminder's policy."""
    if policy.retries == 0:
        return common_pb2.JobFailurePolicy(drop=common_pb2.JobFailurePolicyDrop())
    return common_pb2.JobFailurePolicy(
        constant=common_pb2.JobFailurePolicyConstant(
            interval=_duration(policy.pause), max_retries=policy.retries
        )
    )


def paced(policy: common_pb2.JobFailurePolicy) -> common_pb2.JobFailurePolicy:
    """A job's policy as its app gave it, but for pauses that are none."""
    kept = common_pb2.JobFailurePolicy()
    kept.CopyFrom(policy)
    if kept.WhichOneof("policy") == "constant":
        given = kept.constant.interval
        seconds = given.seconds + given.nanos / 1e9
        pause = FailurePolicy(seconds).pause
        if pause != seconds:
            given.CopyFrom(_duration(pause))
    return kept


def _duration(seconds: float) -> duration_pb2.Duration:
    found = duration_pb2.Duration()
    found.FromTimedelta(timedelta(seconds=seconds))
    return found
