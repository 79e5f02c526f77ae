"""Odd entries of a batch to the app must not spoil the batch."""

from __future__ import annotations

import base64

import orjson

from dapr_sidecar.blocks.pubsub.bulk import Entry
from dapr_sidecar.blocks.pubsub.bulk_senders import _entry_json, _entry_messages
from dapr_sidecar.blocks.pubsub.event import decode
from dapr_sidecar.components.pubsub.base import Message


def entry(name: str, message: Message) -> Entry:
    return Entry(name, message, decode(message, "ps", "t", raw=False))


def test_an_event_that_cannot_be_sent_leaves_the_others() -> None:
    bodies = {
        "not base64": b'{"data_base64":"?"}',
        "no double": b'{"n":1' + b"0" * 400 + b"}",
        "good": b'{"id":"3"}',
    }
    entries = [entry(name, Message("t", body)) for name, body in bodies.items()]
    assert [one.entry_id for one in _entry_messages(entries)] == ["good"]


def test_an_event_of_bytes_is_base64_in_the_json() -> None:
    message = Message("t", b"\xff\x00", {"content-type": "application/octet-stream"})
    shown = orjson.loads(_entry_json(entry("1", message)))
    assert base64.b64decode(shown["event"]) == b"\xff\x00"
    assert shown["contentType"] == "application/octet-stream"
