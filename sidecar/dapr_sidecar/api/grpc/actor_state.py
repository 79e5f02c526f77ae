"""gRPC methods of actor state, reminders and timers."""

from __future__ import annotations

import base64
from typing import Any

import orjson
from google.protobuf import any_pb2, empty_pb2, wrappers_pb2

from dapr_common.durations import LONGEST_GO_SECONDS
from dapr_common.grpc.server import Context, Method
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import actors_pb2 as pb
from dapr_sidecar.blocks.actors import state_errors
from dapr_sidecar.blocks.actors.base import ActorRef
from dapr_sidecar.blocks.actors.reminder import (
    DROP,
    FailurePolicy,
    ReminderRequest,
    ReminderView,
)
from dapr_sidecar.blocks.actors.reminders import Reminders
from dapr_sidecar.blocks.actors.state import ActorState, Delete, Operation, Upsert
from dapr_sidecar.blocks.actors.timers import TimerRequest, Timers

_SERVICE = "/dapr.proto.runtime.v1.Dapr/"
_EMPTY = empty_pb2.Empty()


class ActorStateMethods:
    """Convert, call the block, convert."""

    def __init__(self, state: ActorState, timers: Timers, reminders: Reminders) -> None:
        self._state = state
        self._timers = timers
        self._reminders = reminders

    async def get_state(
        self, request: pb.GetActorStateRequest, context: Context
    ) -> pb.GetActorStateResponse:
        found = await self._state.get(_ref(request), request.key)
        return pb.GetActorStateResponse(data=found.data or b"", metadata=dict(found.metadata))

    async def transact(
        self, request: pb.ExecuteActorStateTransactionRequest, context: Context
    ) -> empty_pb2.Empty:
        await self._state.transact(
            _ref(request), lambda: [_operation(entry) for entry in request.operations]
        )
        return _EMPTY

    async def create_reminder(
        self, request: pb.RegisterActorReminderRequest, context: Context
    ) -> empty_pb2.Empty:
        policy = request.failure_policy if request.HasField("failure_policy") else None
        await self._reminders.create(
            ReminderRequest(
                _ref(request),
                request.name,
                request.due_time,
                request.period,
                request.ttl,
                _data(request.data),
                not request.HasField("overwrite") or request.overwrite,
                None if policy is None else failure_policy(policy),
            )
        )
        return _EMPTY

    async def get_reminder(
        self, request: pb.GetActorReminderRequest, context: Context
    ) -> pb.GetActorReminderResponse:
        found = await self._reminders.get(_ref(request), request.name)
        return pb.GetActorReminderResponse(**_shown(found))

    async def list_reminders(
        self, request: pb.ListActorRemindersRequest, context: Context
    ) -> pb.ListActorRemindersResponse:
        found = await self._reminders.list(request.actor_type, _actor_id(request))
        return pb.ListActorRemindersResponse(
            reminders=[
                pb.NamedActorReminder(name=one.name, reminder=pb.ActorReminder(**_shown(one)))
                for one in found
            ]
        )

    async def delete_reminder(
        self, request: pb.UnregisterActorReminderRequest, context: Context
    ) -> empty_pb2.Empty:
        await self._reminders.delete(_ref(request), request.name)
        return _EMPTY

    async def delete_reminders(
        self, request: pb.UnregisterActorRemindersByTypeRequest, context: Context
    ) -> pb.UnregisterActorRemindersByTypeResponse:
        await self._reminders.delete_all(request.actor_type, _actor_id(request))
        return pb.UnregisterActorRemindersByTypeResponse()

    async def create_timer(
        self, request: pb.RegisterActorTimerRequest, context: Context
    ) -> empty_pb2.Empty:
        timer = TimerRequest(
            request.name,
            request.due_time,
            request.period,
            request.ttl,
            request.callback,
            _data(request.data),
        )
        self._timers.create(_ref(request), timer)
        return _EMPTY

    async def delete_timer(
        self, request: pb.UnregisterActorTimerRequest, context: Context
    ) -> empty_pb2.Empty:
        self._timers.delete(_ref(request), request.name)
        return _EMPTY


def methods(state: ActorState, timers: Timers, reminders: Reminders) -> list[Method]:
    """The methods of actor state, reminders and timers."""
    h = ActorStateMethods(state, timers, reminders)
    empty = empty_pb2.Empty
    rows: tuple[tuple[str, Any, Any, Any], ...] = (
        ("GetActorState", pb.GetActorStateRequest, pb.GetActorStateResponse, h.get_state),
        (
            "ExecuteActorStateTransaction",
            pb.ExecuteActorStateTransactionRequest,
            empty,
            h.transact,
        ),
        ("RegisterActorReminder", pb.RegisterActorReminderRequest, empty, h.create_reminder),
        ("UnregisterActorReminder", pb.UnregisterActorReminderRequest, empty, h.delete_reminder),
        (
            "UnregisterActorRemindersByType",
            pb.UnregisterActorRemindersByTypeRequest,
            pb.UnregisterActorRemindersByTypeResponse,
            h.delete_reminders,
        ),
        (
            "GetActorReminder",
            pb.GetActorReminderRequest,
            pb.GetActorReminderResponse,
            h.get_reminder,
        ),
        (
            "ListActorReminders",
            pb.ListActorRemindersRequest,
            pb.ListActorRemindersResponse,
            h.list_reminders,
        ),
        ("RegisterActorTimer", pb.RegisterActorTimerRequest, empty, h.create_timer),
        ("UnregisterActorTimer", pb.UnregisterActorTimerRequest, empty, h.delete_timer),
    )
    return [Method(_SERVICE + name, "unary_unary", q, r, handler) for name, q, r, handler in rows]


def failure_policy(message: common_pb2.JobFailurePolicy) -> FailurePolicy | None:
    """A failure policy of the wire; ``None`` when it says nothing."""
    kind = message.WhichOneof("policy")
    if kind is None:
        return None
    if kind == "drop":
        return DROP
    constant = message.constant
    # Longer than Go's durations is as long as the longest of them, as in Go.
    interval = constant.interval.seconds + constant.interval.nanos / 1e9
    retries = constant.max_retries if constant.HasField("max_retries") else None
    return FailurePolicy(min(max(interval, 0.0), LONGEST_GO_SECONDS), retries)


def _ref(request: Any) -> ActorRef:
    return ActorRef(request.actor_type, request.actor_id)


def _actor_id(request: Any) -> str | None:
    return request.actor_id if request.HasField("actor_id") else None


def _data(data: bytes) -> bytes | None:
    """Bytes become a JSON string of base64, as Go's encoder writes them."""
    return orjson.dumps(base64.b64encode(data).decode()) if data else None


def _operation(entry: pb.TransactionalActorStateOperation) -> Operation:
    kind = entry.operationType
    if kind == "upsert":
        return Upsert(entry.key, entry.value.value, None, dict(entry.metadata))
    if kind == "delete":
        return Delete(entry.key)
    raise state_errors.operation_not_supported(kind)


def _shown(reminder: ReminderView) -> dict[str, Any]:
    fields: dict[str, Any] = {"actor_type": reminder.ref.type, "actor_id": reminder.ref.id}
    for name in ("due_time", "period", "ttl"):
        if value := getattr(reminder, name):
            fields[name] = value
    if reminder.data is not None:
        data = any_pb2.Any()
        data.Pack(wrappers_pb2.BytesValue(value=reminder.data))
        fields["data"] = data
    return fields
