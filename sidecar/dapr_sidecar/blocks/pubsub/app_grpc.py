"""Events to a gRPC app, and as messages of streams."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson
from google.protobuf import struct_pb2

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.dapr.proto.runtime.v1 import appcallback_pb2
from dapr_sidecar.blocks.pubsub.app_http import NoChannelError
from dapr_sidecar.blocks.pubsub.envelope import ContentKind, content_kind
from dapr_sidecar.blocks.pubsub.event import Event
from dapr_sidecar.blocks.pubsub.rawjson import object_members
from dapr_sidecar.blocks.pubsub.verdict import RetryRequestedError, Verdict
from dapr_sidecar.channel.base import GrpcAppChannel
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.messaging.headers import trace_metadata
from dapr_sidecar.resiliency.base import CodedError

_ON_TOPIC_EVENT = "/dapr.proto.runtime.v1.AppCallback/OnTopicEvent"
_KNOWN = frozenset(
    {"id", "source", "datacontenttype", "type", "specversion", "data", "data_base64"}
)
_NAME = frozenset("0123456789abcdefghijklmnopqrstuvwxyz-_.")
_Status = appcallback_pb2.TopicEventResponse


def grpc_channel(context: SidecarContext) -> GrpcAppChannel:
    """The channel to a gRPC app. Raises ``NoChannelError``."""
    channel = context.channel
    if channel is None or channel.kind != "grpc":
        raise NoChannelError
    return channel


class GrpcSender:
    """Sends single events to a gRPC app."""

    def __init__(self, context: SidecarContext) -> None:
        self._context = context

    async def send(self, event: Event, path: str) -> Verdict:
        """Call ``OnTopicEvent``; the response's status is the verdict."""
        channel = grpc_channel(self._context)
        try:
            response = await channel.unary(
                _ON_TOPIC_EVENT,
                topic_event(event, path),
                appcallback_pb2.TopicEventResponse,
                metadata=call_metadata(event),
            )
        except RpcError as error:
            if error.code == GrpcCode.UNIMPLEMENTED:
                return Verdict.IGNORED
            raise CodedError(int(error.code), str(error)) from error
        assert isinstance(response, appcallback_pb2.TopicEventResponse)
        return verdict_of(response.status)


def verdict_of(status: int) -> Verdict:
    """The verdict of a ``TopicEventResponse``. Raises when the event is to be retried."""
    if status == _Status.SUCCESS:
        return Verdict.SUCCESS
    if status == _Status.DROP:
        return Verdict.DROP
    if status == _Status.RETRY:
        raise RetryRequestedError("RETRY required while processing the event")
    raise RetryRequestedError(f"unknown status returned from app: {status}")


def topic_event(event: Event, path: str) -> appcallback_pb2.TopicEventRequest:
    """The event as a protobuf message."""
    attributes = event.attributes
    return appcallback_pb2.TopicEventRequest(
        id=text_of(attributes, "id"),
        source=text_of(attributes, "source"),
        type=text_of(attributes, "type"),
        spec_version=text_of(attributes, "specversion"),
        data_content_type=text_of(attributes, "datacontenttype"),
        data=data_of(event),
        topic=event.topic,
        pubsub_name=event.pubsub,
        path=path,
        extensions=extensions_of(attributes),
    )


def text_of(attributes: Mapping[str, Any], name: str) -> str:
    """A member that must be text, "" when it is none."""
    value = attributes.get(name, "")
    return value if isinstance(value, str) else ""


def extensions_of(attributes: Mapping[str, Any]) -> struct_pb2.Struct:
    """Every member that has no field of its own."""
    struct = struct_pb2.Struct()
    fields = struct.fields
    for name, value in attributes.items():
        if name in _KNOWN:
            continue
        if isinstance(value, str):
            fields[name].string_value = value
        else:
            struct.update({name: value})
    return struct


def data_of(event: Event) -> bytes:
    """The payload as bytes: decoded base64, text, or JSON as it was written."""
    attributes = event.attributes
    if event.binary:
        return event.body
    encoded = attributes.get("data_base64")
    if isinstance(encoded, str):
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise RetryRequestedError(f"data_base64 is not base64: {error}") from error
    if "data" not in attributes:
        return b""
    data = attributes["data"]
    kind = content_kind(text_of(attributes, "datacontenttype"))
    if kind is ContentKind.JSON or kind is ContentKind.CLOUD_EVENT:
        return _exact_json(event.body, data)
    if isinstance(data, str):
        return data.encode()
    return _exact_json(event.body, data)


def _exact_json(body: bytes, data: object) -> bytes:
    try:
        text = orjson.dumps(data)
        if body.startswith(b'{"data":' + text + b","):
            return text
    except TypeError:
        pass  # a lone surrogate: its escape sequence travels as it is
    return object_members(body.decode("utf-8", "replace"))["data"].text.encode("utf-8", "replace")


def call_metadata(event: Event) -> list[tuple[str, str | bytes]]:
    """Message metadata and trace context as call metadata."""
    pairs: list[tuple[str, str | bytes]] = []
    for name, value in event.metadata.items():
        lower = name.lower()
        if (
            _NAME.issuperset(lower)
            and lower not in ("", "traceparent", "content-type", "te")
            and not lower.startswith("grpc-")
            and not lower.endswith("-bin")
            and value.isascii()
            and value.isprintable()
        ):
            pairs.append((lower, value))
    if event.span is not None:
        pairs += trace_metadata(event.span)
    return pairs
