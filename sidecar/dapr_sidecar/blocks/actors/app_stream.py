"""Actors of an app that opened ``SubscribeActorEventsAlpha1``: requests out, answers by id."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf import any_pb2

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.http.headers import canonical
from dapr_common.observe.tracing import current_span
from dapr_common.wire.dapr.proto.runtime.v1 import actors_pb2 as pb
from dapr_sidecar.blocks.actors import errors, headers
from dapr_sidecar.blocks.actors.base import ActorAnswer, ActorCall, ActorRef, Callback
from dapr_sidecar.messaging.headers import trace_metadata
from dapr_sidecar.messaging.reading import pairs_of_texts

_CONTENT_TYPE = b"content-type"
Send = Callable[[pb.SubscribeActorEventsResponseAlpha1], Awaitable[None]]


class StreamActorApp:
    """Implements ``ActorApp`` for one open stream."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._last_id = 0
        self._pending: dict[str, asyncio.Future[Any]] = {}
        self._closed = False

    # --- towards the app --------------------------------------------------------------------

    async def invoke(self, call: ActorCall) -> ActorAnswer:
        """Call a method. Raises ``DaprError``."""
        request = pb.SubscribeActorEventsResponseInvokeRequestAlpha1(
            actor_type=call.ref.type,
            actor_id=call.ref.id,
            method=call.method,
            data=call.body,
            metadata=_metadata(call),
        )
        answer = await self._ask("invoke_request", request, call.ref, call.method)
        pairs = pairs_of_texts(answer.metadata)
        content_type = headers.first(pairs, _CONTENT_TYPE) or ""
        pairs = [pair for pair in pairs if pair[0] != _CONTENT_TYPE]
        if answer.error and headers.first(pairs, headers.APP_ERROR) is None:
            pairs.append((headers.APP_ERROR, b"true"))
        return ActorAnswer(200, pairs, content_type, answer.data, bool(answer.error))

    async def fire(self, callback: Callback) -> bool:
        """Deliver a reminder or timer. Raises ``DaprError``."""
        fields: dict[str, Any] = {
            "actor_type": callback.ref.type,
            "actor_id": callback.ref.id,
            "name": callback.name,
            "due_time": callback.due_time,
            "period": callback.period,
        }
        if callback.data is not None:
            fields["data"] = any_pb2.Any(value=callback.data)
        request: Any
        if callback.kind == "timer":
            request = pb.SubscribeActorEventsResponseTimerRequestAlpha1(
                **fields, callback=callback.callback
            )
        else:
            request = pb.SubscribeActorEventsResponseReminderRequestAlpha1(**fields)
        which = f"{callback.kind}_request"
        answer = await self._ask(which, request, callback.ref, callback.name)
        return bool(answer.cancel)

    async def deactivate(self, ref: ActorRef) -> None:
        """Tell the app that the actor's object can go. Raises ``DaprError``."""
        if self._closed:
            return
        request = pb.SubscribeActorEventsResponseDeactivateRequestAlpha1(
            actor_type=ref.type, actor_id=ref.id
        )
        await self._ask("deactivate_request", request, ref, "")

    async def _ask(self, which: str, request: Any, ref: ActorRef, method: str) -> Any:
        """Send a request and wait for what the app answers to its id."""
        if self._closed:
            raise errors.invoke_failed("actor host is not connected")
        self._last_id += 1
        request.id = str(self._last_id)
        answer = asyncio.get_running_loop().create_future()
        self._pending[request.id] = answer
        try:
            await self._send(pb.SubscribeActorEventsResponseAlpha1(**{which: request}))
            kind, found = await answer
        except RpcError as error:
            raise errors.invoke_failed(_DISCONNECTED) from error
        finally:
            self._pending.pop(request.id, None)
        if isinstance(found, pb.SubscribeActorEventsRequestFailedAlpha1):
            raise _failed(found, ref, method)
        if kind != which.replace("_request", "_response"):
            raise errors.invoke_failed(f"actor host answered {which} with {kind}")
        return found

    # --- from the app -----------------------------------------------------------------------

    def take(self, message: pb.SubscribeActorEventsRequestAlpha1) -> None:
        """An answer came; one that nobody waits for any more is dropped."""
        which = message.WhichOneof("request_type")
        if which is None:
            return
        answer = getattr(message, which)
        pending = self._pending.get(getattr(answer, "id", ""))
        if pending is not None and not pending.done():
            pending.set_result((which, answer))

    def close(self) -> None:
        """The stream ended: whoever waits is told."""
        self._closed = True
        for pending in self._pending.values():
            if not pending.done():
                pending.set_exception(errors.invoke_failed(_DISCONNECTED))


_DISCONNECTED = "actor host disconnected before responding"


def _failed(
    answer: pb.SubscribeActorEventsRequestFailedAlpha1, ref: ActorRef, method: str
) -> Exception:
    if answer.code == GrpcCode.NOT_FOUND:
        return errors.MethodNotFoundError(ref, method)
    code = GrpcCode(answer.code) if 0 <= answer.code <= 16 else GrpcCode.UNKNOWN
    text = f"error from actor service: ({code.go_name}) {answer.message}"
    return errors.invoke_failed(text)


def _metadata(call: ActorCall) -> dict[str, str]:
    found = {
        canonical(name).decode("latin-1"): value.decode("utf-8", "replace")
        for name, value in reversed(call.headers)
        if name != _CONTENT_TYPE
    }
    if call.content_type:
        found["content-type"] = call.content_type
    if (span := current_span.get()) is not None:
        found |= {n: v for n, v in trace_metadata(span) if isinstance(v, str)}
    return found
