"""Subscriptions over a client's own gRPC stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TypeVar

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.kube.resources import Subscription
from dapr_common.observe.logs import get_logger
from dapr_common.wire.dapr.proto.runtime.v1 import pubsub_pb2
from dapr_sidecar.blocks.pubsub import errors
from dapr_sidecar.blocks.pubsub.app_grpc import topic_event, verdict_of
from dapr_sidecar.blocks.pubsub.envelope import new_id
from dapr_sidecar.blocks.pubsub.event import Event
from dapr_sidecar.blocks.pubsub.subscriptions import ClosedError, SubscriptionSet
from dapr_sidecar.blocks.pubsub.verdict import Verdict
from dapr_sidecar.resiliency.base import PermanentError

_LOG = get_logger("dapr.runtime.pubsub.streamer")
_PATH = "/"
T = TypeVar("T")

Request = pubsub_pb2.SubscribeTopicEventsRequestAlpha1
Response = pubsub_pb2.SubscribeTopicEventsResponseAlpha1


class StreamClosedError(PermanentError):
    """The client's stream ended before it answered; no retry helps, the broker keeps it."""

    def __init__(self) -> None:
        super().__init__("stream closed")


def _refused(message: str, code: GrpcCode = GrpcCode.UNKNOWN) -> DaprError:
    return DaprError("ERR_PUBSUB_SUBSCRIBE", message, grpc_code=code)


class Stream:
    """One client's stream: events go out through ``outgoing``, answers come in by event id."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[int]]] = {}
        self._outgoing: deque[Response] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    async def send(self, event: Event, path: str) -> Verdict:
        """Send an event and wait for the client's word on it."""
        if self._closed:
            raise StreamClosedError
        message = topic_event(event, path)
        message.id = message.id or new_id()
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(message.id, deque())
        waiting.append(answer)
        response = Response(event_message=message)
        self._outgoing.append(response)
        self._wake.set()
        try:
            return verdict_of(await answer)
        except asyncio.CancelledError:
            # A client that does not read must not find every attempt queued up.
            self._outgoing = deque(one for one in self._outgoing if one is not response)
            raise
        finally:
            if answer in waiting:
                waiting.remove(answer)
            if not waiting:
                self._waiting.pop(message.id, None)

    def answered(self, event_id: str, status: int) -> None:
        """The client is done with an event."""
        waiting = self._waiting.get(event_id)
        if not waiting:
            _LOG.debug("the client answered for an event nobody waits for: %s", event_id)
            return
        answer = waiting.popleft()
        if not answer.done():
            answer.set_result(status)

    def close(self) -> None:
        """End the stream; events without an answer fail."""
        self._closed = True
        self._wake.set()
        for waiting in self._waiting.values():
            for answer in waiting:
                if not answer.done():
                    answer.set_exception(StreamClosedError())
                    answer.exception()  # seen: nobody may be left to wait for it

    async def outgoing(self) -> AsyncIterator[Response]:
        """Events in order, until the stream is closed."""
        while True:
            while self._outgoing:
                yield self._outgoing.popleft()
            if self._closed:
                return
            self._wake.clear()
            await self._wake.wait()


async def serve(
    subscriptions: SubscriptionSet, known: set[str], requests: AsyncIterator[Request]
) -> AsyncIterator[Response]:
    """Serve one ``SubscribeTopicEventsAlpha1`` call. ``known``: the live pubsub names."""
    subscription = await _initial(requests, known)
    stream = Stream()
    try:
        subscriber = await subscriptions.add_stream(subscription, stream)
    except ClosedError as error:
        raise _refused(str(error), GrpcCode.UNAVAILABLE) from error
    except Exception as error:
        raise _refused(str(error)) from error
    failures: list[DaprError] = []
    reader = asyncio.ensure_future(_read(requests, stream, failures))
    ender = asyncio.ensure_future(_end_with(subscriptions, stream))
    try:
        yield Response(initial_response=pubsub_pb2.SubscribeTopicEventsResponseInitialAlpha1())
        async for response in stream.outgoing():
            yield response
        if failures:
            raise failures[0]
    finally:
        reader.cancel()
        ender.cancel()
        stream.close()
        await asyncio.gather(reader, ender, return_exceptions=True)
        await subscriptions.remove_stream(subscriber)


async def _initial(requests: AsyncIterator[Request], known: set[str]) -> Subscription:
    first = await anext(requests, None)
    if first is None or not first.HasField("initial_request"):
        raise _refused("initial request is required")
    initial = first.initial_request
    if not initial.pubsub_name:
        raise _refused("pubsubName is required")
    if initial.pubsub_name not in known:
        raise errors.not_found(initial.pubsub_name, None)
    if not initial.topic:
        raise _refused("topic is required")
    return Subscription(
        pubsub_name=initial.pubsub_name,
        topic=initial.topic,
        default_route=_PATH,
        metadata=dict(initial.metadata),
        dead_letter_topic=initial.dead_letter_topic,
    )


async def _read(
    requests: AsyncIterator[Request], stream: Stream, failures: list[DaprError]
) -> None:
    try:
        async for request in requests:
            if request.HasField("initial_request"):
                failures.append(_refused("duplicate initial request received"))
                return
            processed = request.event_processed
            stream.answered(processed.id, processed.status.status)
    finally:
        stream.close()


async def _end_with(subscriptions: SubscriptionSet, stream: Stream) -> None:
    await subscriptions.ended.wait()
    stream.close()
