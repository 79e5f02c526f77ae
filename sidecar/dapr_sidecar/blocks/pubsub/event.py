"""A message from a broker as the CloudEvent that is delivered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dapr_common.observe.tracing import Span
from dapr_sidecar.blocks.pubsub.envelope import SPEC_VERSION, ContentKind, content_kind, wrap_raw
from dapr_sidecar.blocks.pubsub.rawjson import load
from dapr_sidecar.components.pubsub.base import Message

_ATTRIBUTE = "ce_"


class EventError(ValueError):
    """A message that is no CloudEvent arrived on a subscription that expects one."""


class Event:
    """One message on its way to the app.

    ``body`` is what an HTTP app receives: the stored bytes, untouched. ``attributes`` is the
    parsed event. ``binary``: the body is the data itself and the attributes came beside it.
    """

    __slots__ = ("attributes", "binary", "body", "metadata", "pubsub", "span", "topic")

    def __init__(
        self,
        pubsub: str,
        topic: str,
        body: bytes,
        attributes: dict[str, Any],
        metadata: Mapping[str, str],
        *,
        binary: bool = False,
    ) -> None:
        self.pubsub = pubsub
        self.topic = topic
        self.body = body
        self.attributes = attributes
        self.metadata = metadata
        self.binary = binary
        self.span: Span | None = None


def decode(message: Message, pubsub: str, topic: str, *, raw: bool) -> Event:
    """Read a message. Raises ``EventError`` when it is no JSON object and not ``raw``."""
    given = message.metadata
    metadata = {**given, "pubsubName": pubsub} if given else {"pubsubName": pubsub}
    body = message.data
    if raw:
        body = wrap_raw(body, topic=topic, pubsub=pubsub, metadata=given)
    elif given and _is_binary(given):
        return Event(pubsub, topic, body, _binary_attributes(given), metadata, binary=True)
    try:
        attributes = load(body)
    except (ValueError, RecursionError) as error:
        raise EventError(f"error deserializing cloud event: {error}") from error
    if not isinstance(attributes, dict):
        raise EventError("error deserializing cloud event: it is not a JSON object")
    return Event(pubsub, topic, body, attributes, metadata)


def _is_binary(metadata: Mapping[str, str]) -> bool:
    for name, value in metadata.items():
        if name.lower() == "content-type":
            return content_kind(value) is ContentKind.BINARY
    return False


def _binary_attributes(metadata: Mapping[str, str]) -> dict[str, Any]:
    attributes: dict[str, Any] = {"specversion": SPEC_VERSION}
    for name, value in metadata.items():
        if name.lower().startswith(_ATTRIBUTE):
            attributes[name[len(_ATTRIBUTE) :].lower()] = value
    attributes.setdefault("datacontenttype", "application/octet-stream")
    return attributes
