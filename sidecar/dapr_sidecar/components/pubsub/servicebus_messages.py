"""Metadata of requests as properties of Service Bus messages, and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage

from dapr_sidecar.components.pubsub.base import ttl_seconds

# Metadata names, in lower case → arguments of a message.
_TEXTS = {
    "messageid": "message_id",
    "sessionid": "session_id",
    "correlationid": "correlation_id",
    "label": "subject",
    "replyto": "reply_to",
    "to": "to",
    "partitionkey": "partition_key",
    "contenttype": "content_type",
}
_SCHEDULED = "scheduledenqueuetimeutc"
_FORM = "%a, %d %b %Y %H:%M:%S"


def outgoing(
    data: bytes, metadata: Mapping[str, str] | None, content_type: str | None
) -> ServiceBusMessage:
    """A message to send. Raises ``ValueError`` for a time that is none."""
    words: dict[str, str] = {}
    properties: dict[str | bytes, object] = {}
    scheduled: datetime | None = None
    for name, value in (metadata or {}).items():
        lower = name.lower()
        if lower in _TEXTS:
            words[_TEXTS[lower]] = value
        elif lower == _SCHEDULED:
            scheduled = _moment(value)
        elif lower not in ("ttlinseconds", "rawpayload"):
            properties[name] = value
    if content_type and "content_type" not in words:
        words["content_type"] = content_type
    ttl = ttl_seconds(metadata)
    return ServiceBusMessage(
        data,
        application_properties=properties or None,  # type: ignore[arg-type]
        time_to_live=None if ttl is None else timedelta(seconds=ttl),
        scheduled_enqueue_time_utc=scheduled,
        **words,
    )


def _moment(text: str) -> datetime:
    bare = text.removesuffix(" GMT").removesuffix(" UTC")
    try:
        return datetime.strptime(bare, _FORM).replace(tzinfo=UTC)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"invalid metadata 'ScheduledEnqueueTimeUtc': '{text}': expected a time in HTTP's form"
        ) from None


def body_of(message: ServiceBusReceivedMessage) -> bytes:
    """The bytes of a message."""
    body = message.body
    return body if isinstance(body, bytes) else b"".join(body)


def metadata_of(message: ServiceBusReceivedMessage) -> dict[str, str]:
    """What the app is told about a message."""
    found = {
        _text(name): _text(value) for name, value in (message.application_properties or {}).items()
    }
    described = {
        "MessageId": message.message_id,
        "SessionId": message.session_id,
        "CorrelationId": message.correlation_id,
        "Label": message.subject,
        "ReplyTo": message.reply_to,
        "To": message.to,
        "ContentType": message.content_type,
        "DeliveryCount": message.delivery_count,
        "EnqueuedTimeUtc": message.enqueued_time_utc,
        "LockedUntilUtc": message.locked_until_utc,
        "LockToken": message.lock_token,
        "SequenceNumber": message.sequence_number,
    }
    for name, value in described.items():
        if value is not None:
            shown = value.strftime(_FORM) + " GMT" if isinstance(value, datetime) else _text(value)
            found[f"metadata.{name}"] = shown
    return found


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
