"""Batches to HTTP and gRPC apps, and their answers."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.http.headers import safe_value
from dapr_common.http.messages import Header
from dapr_common.json_text import html_escape
from dapr_common.observe.logs import get_logger
from dapr_common.wire.dapr.proto.runtime.v1 import appcallback_pb2
from dapr_sidecar.blocks.pubsub.app_grpc import data_of, extensions_of, grpc_channel, text_of
from dapr_sidecar.blocks.pubsub.app_http import http_channel, target_of
from dapr_sidecar.blocks.pubsub.bulk import Entry
from dapr_sidecar.blocks.pubsub.envelope import CLOUD_EVENTS_JSON, new_id
from dapr_sidecar.blocks.pubsub.rawjson import quoted
from dapr_sidecar.blocks.pubsub.verdict import RetryRequestedError, Verdict
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.resiliency.base import CodedError

_LOG = get_logger("dapr.runtime.pubsub.subscription")
BULK_TYPE = "com.dapr.event.sent.bulk"
_BINARY = "application/octet-stream"
_METHODS = (
    "/dapr.proto.runtime.v1.AppCallback/OnBulkTopicEvent",
    "/dapr.proto.runtime.v1.AppCallbackAlpha/OnBulkTopicEventAlpha1",
)
_Status = appcallback_pb2.TopicEventResponse
_WORDS = {"SUCCESS": Verdict.SUCCESS, "DROP": Verdict.DROP}
_CODES = {_Status.SUCCESS: Verdict.SUCCESS, _Status.DROP: Verdict.DROP}

Verdicts = Mapping[str, Verdict | None]


class HttpBulkSender:
    """POSTs batches to an HTTP app."""

    def __init__(self, context: SidecarContext, pubsub: str, topic: str) -> None:
        self._context = context
        self._pubsub = pubsub
        self._topic = topic
        self._headers: list[Header] = [
            (b"Content-Type", b"application/json"),
            (b"Pubsubname", safe_value(pubsub.encode())),
        ]

    async def send(self, entries: Sequence[Entry], path: str) -> Verdicts:
        """A verdict per entry; raises when the whole batch is to be retried."""
        body = self._body(entries)
        channel = http_channel(self._context)
        response = await channel.request("POST", target_of(path), list(self._headers), body)
        answer = await response.read()
        if 200 <= response.status < 300:
            return _statuses(answer)
        if response.status == 404:
            return {entry.entry_id: Verdict.DROP for entry in entries}
        raise CodedError(
            response.status,
            f"retriable error returned from app, status code {response.status}",
        )

    def _body(self, entries: Sequence[Entry]) -> bytes:
        name = quoted(self._pubsub)
        return b"".join(
            (
                b'{"id":"' + new_id().encode(),
                b'","entries":[' + b",".join(map(_entry_json, entries)),
                b'],"metadata":{"pubsubName":' + name,
                b'},"topic":' + quoted(self._topic),
                b',"pubsubname":' + name,
                b',"type":"' + BULK_TYPE.encode() + b'"}',
            )
        )


def _entry_json(entry: Entry) -> bytes:
    metadata = b"null"
    if entry.message.metadata is not None:
        metadata = html_escape(orjson.dumps(dict(entry.message.metadata)))
    if entry.event is None or entry.event.binary:  # bytes that need not be JSON
        event = b'"' + base64.b64encode(entry.message.data) + b'"'
        content_type = entry.message.content_type or _BINARY
    else:
        event, content_type = entry.event.body, CLOUD_EVENTS_JSON
    return (b'{"entryId":"%b","event":%b,"metadata":%b,"contentType":%b}') % (
        entry.entry_id.encode(),
        event,
        metadata,
        quoted(content_type),
    )


def _statuses(answer: bytes) -> Verdicts:
    """What the app said; anything it did not say clearly is a retry."""
    try:
        body: Any = orjson.loads(answer)
        return {str(one["entryId"]): _WORDS.get(one.get("status")) for one in body["statuses"]}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


class GrpcBulkSender:
    """Calls ``OnBulkTopicEvent`` of a gRPC app, or its older name when the app has only that."""

    def __init__(self, context: SidecarContext, pubsub: str, topic: str) -> None:
        self._context = context
        self._pubsub = pubsub
        self._topic = topic
        self._method = 0

    async def send(self, entries: Sequence[Entry], path: str) -> Verdicts:
        """A verdict per entry; raises when the whole batch is to be retried."""
        messages = _entry_messages(entries)
        if not messages:
            return {}
        request = appcallback_pb2.TopicEventBulkRequest(
            id=new_id(),
            entries=messages,
            metadata={"pubsubName": self._pubsub},
            topic=self._topic,
            pubsub_name=self._pubsub,
            type=BULK_TYPE,
            path=path,
        )
        response = await self._call(request)
        if response is None:
            return {entry.entry_id: Verdict.IGNORED for entry in entries}
        return {one.entry_id: _CODES.get(one.status) for one in response.statuses}

    async def _call(
        self, request: appcallback_pb2.TopicEventBulkRequest
    ) -> appcallback_pb2.TopicEventBulkResponse | None:
        for number in dict.fromkeys((self._method, 0, 1)):
            try:
                response = await grpc_channel(self._context).unary(
                    _METHODS[number],
                    request,
                    appcallback_pb2.TopicEventBulkResponse,
                    metadata=(("pubsubname", self._pubsub),),
                )
            except RpcError as error:
                if error.code == GrpcCode.UNIMPLEMENTED:
                    continue
                raise CodedError(int(error.code), str(error)) from error
            assert isinstance(response, appcallback_pb2.TopicEventBulkResponse)
            self._method = number
            return response
        return None


def _entry_messages(
    entries: Sequence[Entry],
) -> list[appcallback_pb2.TopicEventBulkRequestEntry]:
    """The entries that can be sent; one that cannot must not hold up the others of its batch."""
    messages = []
    for entry in entries:
        try:
            messages.append(_entry_message(entry))
        except (RetryRequestedError, ValueError, OverflowError) as error:
            _LOG.error("entry %s of a batch cannot be sent: %s", entry.entry_id, error)
    return messages


def _entry_message(entry: Entry) -> appcallback_pb2.TopicEventBulkRequestEntry:
    metadata = dict(entry.message.metadata or {})
    if entry.event is None:
        return appcallback_pb2.TopicEventBulkRequestEntry(
            entry_id=entry.entry_id,
            bytes=entry.message.data,
            content_type=entry.message.content_type or _BINARY,
            metadata=metadata,
        )
    attributes = entry.event.attributes
    event = appcallback_pb2.TopicEventCERequest(
        id=text_of(attributes, "id"),
        source=text_of(attributes, "source"),
        type=text_of(attributes, "type"),
        spec_version=text_of(attributes, "specversion"),
        data_content_type=text_of(attributes, "datacontenttype"),
        data=data_of(entry.event),
        extensions=extensions_of(attributes),
    )
    return appcallback_pb2.TopicEventBulkRequestEntry(
        entry_id=entry.entry_id,
        cloud_event=event,
        content_type=CLOUD_EVENTS_JSON,
        metadata=metadata,
    )
