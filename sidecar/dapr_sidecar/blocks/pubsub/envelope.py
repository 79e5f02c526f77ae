"""From a publish request to the CloudEvent bytes that go to the broker. Pure, and on the hot path.

The data of a JSON payload is embedded as it was written, so numbers keep every digit.
"""

from __future__ import annotations

import base64
import random
import time
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import lru_cache

import orjson

from dapr_common.json_text import html_escape
from dapr_common.moments import rfc3339
from dapr_sidecar.blocks.pubsub.protobuf_event import is_protobuf_event
from dapr_sidecar.blocks.pubsub.rawjson import is_json, object_members, quoted

EVENT_TYPE = "com.dapr.event.sent"
CLOUD_EVENTS_JSON = "application/cloudevents+json"
DEFAULT_SOURCE = "Dapr"
SPEC_VERSION = "1.0"
_PREFIX = "cloudevent."
_BITS = random.Random(random.SystemRandom().getrandbits(256)).getrandbits  # noqa: S311 - not secret


class ContentKind(Enum):
    """How a payload of some content type is put into an envelope."""

    JSON = "json"
    CLOUD_EVENT = "cloudevent"
    TEXT = "text"
    BINARY = "binary"
    PROTOBUF_EVENT = "protobuf event"
    PROTOBUF = "protobuf"
    OTHER = "other"


_KINDS = {
    "application/json": ContentKind.JSON,
    CLOUD_EVENTS_JSON: ContentKind.CLOUD_EVENT,
    "application/xml": ContentKind.TEXT,
    "application/octet-stream": ContentKind.BINARY,
    "application/cloudevents+protobuf": ContentKind.PROTOBUF_EVENT,
    "application/x-protobuf": ContentKind.PROTOBUF,
}


@lru_cache(maxsize=256)
def content_kind(content_type: str) -> ContentKind:
    """The kind of a content type; its case and parameters do not matter."""
    name = content_type.partition(";")[0].strip().lower()
    if name.startswith("text/"):
        return ContentKind.TEXT
    return _KINDS.get(name, ContentKind.OTHER)


def new_id() -> str:
    """A random UUID of version 4."""
    bits = (_BITS(128) & ~(0xF << 76) & ~(0x3 << 62)) | (0x4 << 76) | (0x2 << 62)
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@lru_cache(maxsize=4)
def _local_time(second: int) -> str:
    moment = datetime.fromtimestamp(second).astimezone()
    text = moment.isoformat(timespec="seconds")
    return text[:-6] + "Z" if text.endswith("+00:00") else text


def now_text() -> str:
    """The time now in RFC 3339, whole seconds, local zone."""
    return _local_time(int(time.time()))


def expiration_of(ttl: int | None) -> str:
    """The ``expiration`` member for a time to live, "" without one."""
    if ttl is None:
        return ""
    try:
        return rfc3339(time.time() + ttl)
    except (OverflowError, ValueError, OSError):
        return ""


_quoted = lru_cache(maxsize=1024)(quoted)


def wrap(
    data: bytes,
    content_type: str,
    *,
    source: str,
    topic: str,
    pubsub: str,
    metadata: Mapping[str, str] | None = None,
    traceparent: str = "",
    tracestate: str = "",
    expiration: str = "",
) -> bytes:
    """The envelope of an ordinary payload, keys sorted as Go's encoder sorts them."""
    content_type = content_type or "text/plain"
    identity, kind, subject = new_id(), EVENT_TYPE, ""
    if metadata and (given := _overrides(metadata)):
        identity = given.get("id", identity)
        source = given.get("source", source)
        kind = given.get("type", kind)
        subject = given.get("subject", "")
        traceparent = given.get("traceparent") or given.get("traceid") or traceparent
        tracestate = given.get("tracestate", tracestate)
    trace = quoted(traceparent) if traceparent else b'""'
    return b"".join(
        (
            _data_member(data, content_type),
            b',"datacontenttype":',
            _quoted(content_type),
            b',"expiration":' + quoted(expiration) if expiration else b"",
            b',"id":',
            quoted(identity),
            b',"pubsubname":',
            _quoted(pubsub),
            b',"source":',
            _quoted(source),
            b',"specversion":"1.0"',
            b',"subject":' + quoted(subject) if subject else b"",
            b',"time":"',
            now_text().encode(),
            b'","topic":',
            _quoted(topic),
            b',"traceid":',
            trace,
            b',"traceparent":',
            trace,
            b',"tracestate":',
            quoted(tracestate) if tracestate else b'""',
            b',"type":',
            _quoted(kind),
            b"}",
        )
    )


def _data_member(data: bytes, content_type: str) -> bytes:
    kind = content_kind(content_type)
    if kind is ContentKind.JSON:
        if (embedded := _embeddable(data)) is not None:
            return b'{"data":' + embedded
    elif (
        kind is ContentKind.BINARY
        or kind is ContentKind.PROTOBUF_EVENT
        or (kind is ContentKind.PROTOBUF and is_protobuf_event(data))
    ):
        return b'{"data_base64":"' + base64.b64encode(data) + b'"'
    return b'{"data":' + quoted(data.decode("utf-8", "replace"))


def _embeddable(data: bytes) -> bytes | None:
    try:
        orjson.loads(data)
    except ValueError:
        # Some valid JSON is too much for the fast parser: huge numbers, lone surrogates.
        text = data.decode("utf-8", "replace").strip(" \t\r\n")
        return html_escape(text.encode()) if is_json(text) else None
    return html_escape(data.strip(b" \t\r\n"))


def _overrides(metadata: Mapping[str, str]) -> dict[str, str]:
    return {
        name[len(_PREFIX) :].lower(): value
        for name, value in metadata.items()
        if name[: len(_PREFIX)].lower() == _PREFIX
    }


def complete(
    body: bytes,
    *,
    topic: str,
    pubsub: str,
    traceparent: str = "",
    tracestate: str = "",
    expiration: str = "",
) -> bytes:
    """A payload that is a CloudEvent already: its members kept, Dapr's added.

    Raises ``ValueError`` when it is not a JSON object. No id is made up for it.
    """
    text = body.decode("utf-8", "replace")
    members = {name: raw.text for name, raw in object_members(text).items()}
    members["topic"] = quoted(topic).decode()
    members["pubsubname"] = quoted(pubsub).decode()
    if expiration:
        members["expiration"] = quoted(expiration).decode()
    if "traceid" not in members:
        members["traceid"] = members["traceparent"] = quoted(traceparent).decode()
    members.setdefault("tracestate", quoted(tracestate).decode())
    members.setdefault("time", f'"{now_text()}"')
    for name, value in (
        ("source", DEFAULT_SOURCE),
        ("type", EVENT_TYPE),
        ("specversion", SPEC_VERSION),
    ):
        if members.get(name, "null") == "null":
            members[name] = f'"{value}"'
    pairs = (quoted(name).decode() + ":" + members[name] for name in sorted(members))
    return html_escape(("{" + ",".join(pairs) + "}").encode("utf-8", "replace"))


def wrap_raw(
    data: bytes, *, topic: str, pubsub: str, metadata: Mapping[str, str] | None = None
) -> bytes:
    """The event a raw subscription hands to the app for a message that is no CloudEvent."""
    members: dict[str, str] = {
        "data_base64": base64.b64encode(data).decode(),
        "datacontenttype": "application/octet-stream",
        "id": new_id(),
        "pubsubname": pubsub,
        "source": DEFAULT_SOURCE,
        "specversion": SPEC_VERSION,
        "topic": topic,
    }
    given = metadata or {}
    if trace := given.get("traceparent") or given.get("traceid"):
        members["traceid"] = members["traceparent"] = trace
    if state := given.get("tracestate"):
        members["tracestate"] = state
    members["type"] = EVENT_TYPE
    return html_escape(orjson.dumps(members))


def is_expired(expiration: object) -> bool:
    """Whether an event's ``expiration`` member is in the past; text that is no time never is."""
    if not isinstance(expiration, str):
        return False
    try:
        moment = datetime.fromisoformat(expiration)
    except ValueError:
        return False
    if moment.tzinfo is None:
        return False
    return moment.timestamp() < time.time()
