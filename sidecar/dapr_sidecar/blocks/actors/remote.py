"""Calls to actors on other sidecars: ``CallActor`` and ``CallActorReminder``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from google.protobuf import empty_pb2, wrappers_pb2
from google.protobuf.message import Message

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import Metadata, UnaryResult
from dapr_common.grpc.errors import RpcError
from dapr_common.observe.tracing import current_span
from dapr_common.wire.dapr.proto.internals.v1 import reminders_pb2
from dapr_common.wire.dapr.proto.internals.v1 import service_invocation_pb2 as internals
from dapr_sidecar.blocks.actors import errors, headers
from dapr_sidecar.blocks.actors.base import ActorAnswer, ActorCall, Callback, Owner
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.messaging import actor_wire, reading
from dapr_sidecar.messaging.headers import trace_metadata
from dapr_sidecar.messaging.peers import Peers
from dapr_sidecar.messaging.remote import SERVICE

MOVED = "remote actor moved"
DISSEMINATING = ": placement is disseminating"
_CALL, _REMINDER = SERVICE + "CallActor", SERVICE + "CallActorReminder"
_MOST_SECONDS = 3600.0
"""For a turn on another sidecar, waiting for it included; callers and policies end it earlier.

A peer that is gone is found out by pings within seconds, or by the tables.
"""
_INVOKE_ERROR = "error invoke actor method: "
_NOT_FOUND = "actor method not found: "


class RemoteActors:
    """Makes one attempt at a time; whether there is another is the router's business.

    Implements ``OwnershipListener``: a call to a sidecar that is in no table any more is given up,
    since a machine that went dark does not close its connections. ``hosts`` gives the addresses
    of the tables in force.
    """

    def __init__(
        self, context: SidecarContext, peers: Peers, hosts: Callable[[], frozenset[str]]
    ) -> None:
        self._context = context
        self._peers = peers
        self._hosts = hosts
        self._under_way: dict[str, set[asyncio.Task[Any]]] = {}
        self._gone: set[asyncio.Task[Any]] = set()

    async def leaving(self, types: frozenset[str]) -> None:
        """Nothing to do: whose an actor is next is not known yet."""

    def settled(self, types: frozenset[str]) -> None:
        """Give up the calls to sidecars that own nothing any more."""
        for address in self._under_way.keys() - self._hosts():
            for task in self._under_way[address] - self._gone:
                self._gone.add(task)
                task.cancel()

    async def invoke(self, call: ActorCall, owner: Owner) -> ActorAnswer:
        """Call a method. Raises ``NotHereError`` or ``DaprError``."""
        raw = actor_wire.request(
            call.ref.type,
            call.ref.id,
            call.method,
            call.headers,
            call.content_type,
            call.query,
            call.body,
        )
        result = await self._unary(_CALL, raw, internals.InternalInvokeResponse, call, owner)
        answer = reading.answer_of(result.message)
        body = answer.body if isinstance(answer.body, bytes) else b""
        app_error = headers.first(answer.headers, headers.APP_ERROR) is not None
        return ActorAnswer(
            answer.status or 200, answer.headers, answer.content_type, body, app_error
        )

    async def fire(self, callback: Callback, owner: Owner) -> bool:
        """Deliver a reminder or timer. Returns whether the app wants no more of it.

        The answer has no member for that: a trailer tells, which sidecars of Dapr do not send. A
        timer's callback goes as metadata, which they do not read.
        """
        reminder = reminders_pb2.Reminder(
            actor_id=callback.ref.id,
            actor_type=callback.ref.type,
            name=callback.name,
            period=callback.period,
            due_time=callback.due_time,
            is_timer=callback.kind == "timer",
        )
        if callback.data is not None:
            reminder.data.Pack(wrappers_pb2.BytesValue(value=callback.data))
        raw = reminder.SerializeToString()
        more = [(headers.TIMER_CALLBACK, callback.callback.encode())] if callback.callback else []
        result = await self._unary(_REMINDER, raw, empty_pb2.Empty, callback, owner, more)
        return any(name.encode() == headers.REMINDER_CANCEL for name, _ in result.trailers)

    async def _unary(
        self,
        method: str,
        raw: bytes,
        answer: type[Message],
        call: ActorCall | Callback,
        owner: Owner,
        more: Metadata = (),
    ) -> UnaryResult:
        namespace = self._context.identity.invocation_namespace
        channel = self._peers.channel(owner.address, namespace, owner.app_id)
        span = current_span.get()
        metadata = more if span is None else [*more, *trace_metadata(span)]
        try:
            with self._noted(owner.address):
                return await channel.unary(
                    method, raw, answer, metadata=metadata, timeout=_MOST_SECONDS
                )
        except RpcError as error:
            if error.code in (GrpcCode.UNAVAILABLE, GrpcCode.UNAUTHENTICATED):
                await self._peers.drop(channel)
            raise _told(error, call) from error

    @contextmanager
    def _noted(self, address: str) -> Iterator[None]:
        """Raises ``NotHereError`` when the sidecar leaves the tables meanwhile."""
        task = asyncio.current_task()
        assert task is not None
        under_way = self._under_way.setdefault(address, set())
        under_way.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if task in self._gone and task.uncancel() == 0:
                raise errors.NotHereError(f"the sidecar at {address} is gone") from None
            raise
        finally:
            self._gone.discard(task)
            under_way.discard(task)
            if not under_way:
                self._under_way.pop(address, None)


def _told(error: RpcError, call: ActorCall | Callback) -> Exception:
    """What another sidecar's refusal means here."""
    text = error.message.removeprefix(_INVOKE_ERROR)
    if error.code is GrpcCode.UNAVAILABLE or text == MOVED or text.endswith(DISSEMINATING):
        return errors.NotHereError(str(error))
    if error.code is GrpcCode.RESOURCE_EXHAUSTED and text == errors.stack_depth().message:
        return errors.stack_depth()
    if isinstance(call, ActorCall) and text.startswith(_NOT_FOUND):
        return errors.MethodNotFoundError(call.ref, call.method)
    if text is not error.message and error.code is GrpcCode.INTERNAL:
        return errors.invoke_failed(text)
    return errors.invoke_failed(error)
