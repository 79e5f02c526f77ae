"""The CloudEvent of an outbox: from an upsert to the internal topic, from there on. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dapr_common.words import is_truthy
from dapr_sidecar.blocks.pubsub.envelope import complete, wrap
from dapr_sidecar.blocks.pubsub.rawjson import load, object_members, quoted
from dapr_sidecar.blocks.state.go_text import go_text
from dapr_sidecar.blocks.state.items import SaveItem
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import Json, StateValue

MARKER = "outbox-"
"""How the ids of events begin, which are the keys of their markers in the store."""
_PROJECTION = "outbox.projection"
_OVERRIDES = ("outbox.cloudevent.", "cloudevent.")
_RESERVED = frozenset({"data", "data_base64", "id", _PROJECTION})
_OF_ENVELOPE = frozenset({"source", "type", "subject", "traceid", "traceparent", "tracestate"})
"""Overrides that the envelope knows as those of an ordinary publish."""
_JSON_TYPE, _BYTES_TYPE = "application/json", "application/octet-stream"


def internal_topic(namespace: str, app_id: str, topic: str) -> str:
    """Where events wait for their transaction; all sidecars of an app share it."""
    return f"{namespace}{app_id}{topic}outbox"


def is_projection(item: SaveItem) -> bool:
    """Whether an upsert is not stored but shows what is published for its key."""
    return any(n.lower() == _PROJECTION and is_truthy(v) for n, v in item.metadata.items())


def internal_event(
    marker: str,
    upsert: SaveItem,
    shown: SaveItem,
    transaction: Mapping[str, str],
    *,
    source: str,
    pubsub: str,
    traceparent: str = "",
    tracestate: str = "",
) -> bytes:
    """The event of an upsert. ``shown`` has the payload: the upsert itself or its projection."""
    metadata = {**upsert.metadata, **shown.metadata}
    overrides = dict(_overrides(metadata))
    data, content_type = _payload(
        shown.value, shown.content_type or upsert.content_type, {**transaction, **metadata}
    )
    body = wrap(
        data,
        content_type,
        source=source,
        topic="",
        pubsub=pubsub,
        metadata={
            **{f"cloudevent.{name}": value for name, value in overrides.items()},
            "cloudevent.id": marker,
        },
        traceparent=traceparent,
        tracestate=tracestate,
    )
    extensions = {n: v for n, v in overrides.items() if n.lower() not in _OF_ENVELOPE}
    more = {n: v for n, v in {**metadata, **extensions}.items() if n.lower() not in _RESERVED}
    if more:
        body = _with_members(body, more)
    return complete(body, topic="", pubsub=pubsub)


def public_event(body: bytes, *, topic: str, pubsub: str) -> bytes:
    """The event as subscribers of the public topic get it."""
    return complete(body, topic=topic, pubsub=pubsub)


def marker_of(body: bytes) -> str | None:
    """The marker that an event of the internal topic waits for; ``None``: it is no such event."""
    try:
        event = load(body)
    except (ValueError, RecursionError):
        return None
    marker = event.get("id") if isinstance(event, dict) else None
    return marker if isinstance(marker, str) and marker.startswith(MARKER) else None


def failure_marker(marker: str) -> str:
    """The key that says that the transaction of a marker failed."""
    return f"{MARKER}failed-{marker.removeprefix(MARKER)}"


def _overrides(metadata: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in metadata.items():
        for prefix in _OVERRIDES:
            if name[: len(prefix)].lower() == prefix:
                yield name[len(prefix) :], value
                break


def _payload(
    value: StateValue, content_type: str, metadata: Mapping[str, str]
) -> tuple[bytes, str]:
    """The data of an event and its content type: JSON when asked for, else text."""
    given = content_type or next((v for n, v in metadata.items() if n.lower() == "contenttype"), "")
    is_json = given.partition(";")[0].strip().lower() == _JSON_TYPE
    if isinstance(value, Json):
        if is_json:
            return encoding.plain(value), given
        return go_text(value.value).encode("utf-8", "replace"), ""
    if is_json:
        return value, given
    try:
        value.decode()
    except UnicodeDecodeError:
        return value, _BYTES_TYPE  # as text it would lose bytes
    return value, ""


def _with_members(body: bytes, more: Mapping[str, str]) -> bytes:
    members = {name: raw.text for name, raw in object_members(body.decode()).items()}
    members.update((name, quoted(value).decode()) for name, value in more.items())
    pairs = (f"{quoted(name).decode()}:{text}" for name, text in members.items())
    return ("{" + ",".join(pairs) + "}").encode()
