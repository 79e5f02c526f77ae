from __future__ import annotations

import base64
import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_sidecar.blocks.pubsub import envelope
from dapr_sidecar.blocks.pubsub.envelope import (
    ContentKind,
    complete,
    content_kind,
    expiration_of,
    is_expired,
    new_id,
    wrap,
    wrap_raw,
)
from dapr_sidecar.components.pubsub.base import ttl_seconds

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def wrapped(data: bytes, content_type: str = "application/json", **more: object) -> bytes:
    return wrap(data, content_type, source="app", topic="t", pubsub="ps", **more)  # type: ignore[arg-type]


@given(JSON)
def test_json_data_is_embedded_and_keys_are_sorted(value: object) -> None:
    text = json.dumps(value)
    try:
        text.encode()
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    pairs = json.loads(wrapped(text.encode()), object_pairs_hook=list)
    names = [name for name, _ in pairs]
    assert names == sorted(names)
    assert json.loads(wrapped(text.encode()))["data"] == value


@given(
    st.text(alphabet=st.characters(codec="utf-8")), st.sampled_from(["text/plain", "image/png", ""])
)
def test_other_data_is_text(text: str, content_type: str) -> None:
    event = json.loads(wrapped(text.encode(), content_type))
    assert event["data"] == text
    assert event["datacontenttype"] == content_type or "text/plain"


@given(st.binary())
def test_binary_data_is_base64(data: bytes) -> None:
    event = json.loads(wrapped(data, "Application/Octet-Stream; x=y"))
    assert base64.b64decode(event["data_base64"]) == data
    assert "data" not in event


@pytest.mark.parametrize("number", ["1.50", "12345678901234567890123", "1e400", "-0.0"])
def test_numbers_stay_as_written(number: str) -> None:
    assert f'"data":{{"n":{number}}}'.encode() in wrapped(b'{"n":' + number.encode() + b"}")
    body = ('{"data":{"n":' + number + "}}").encode()
    assert f'"data":{{"n":{number}}}'.encode() in complete(body, topic="t", pubsub="ps")


def test_the_members_of_an_envelope() -> None:
    event = json.loads(wrapped(b'{"a":1}'))
    assert UUID4.fullmatch(event.pop("id"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", event.pop("time"))
    assert event == {
        "data": {"a": 1},
        "datacontenttype": "application/json",
        "pubsubname": "ps",
        "source": "app",
        "specversion": "1.0",
        "topic": "t",
        "traceid": "",
        "traceparent": "",
        "tracestate": "",
        "type": "com.dapr.event.sent",
    }


def test_unparsable_json_is_text() -> None:
    assert json.loads(wrapped(b"{bad"))["data"] == "{bad"
    assert json.loads(wrapped(b""))["data"] == ""


def test_invalid_utf8_inside_json_is_replaced() -> None:
    assert json.loads(wrapped(b'{"a":"\xff"}'))["data"] == {"a": "�"}


def test_html_is_escaped_as_go_does() -> None:
    assert b'"data":"\\u003ca\\u003e\\u0026"' in wrapped(b"<a>&", "application/xml")
    assert b"<" not in wrapped(b'{"a":"<"}')


def test_overrides() -> None:
    metadata = {
        "cloudevent.ID": "i",
        "CloudEvent.source": "s",
        "cloudevent.type": "ty",
        "cloudevent.subject": "su",
        "cloudevent.traceid": "loses",
        "cloudevent.traceparent": "wins",
        "cloudevent.tracestate": "st",
        "cloudevent.other": "no",
    }
    event = json.loads(wrapped(b"1", metadata=metadata))
    assert (event["id"], event["source"], event["type"], event["subject"]) == ("i", "s", "ty", "su")
    assert event["traceid"] == event["traceparent"] == "wins"
    assert event["tracestate"] == "st"
    assert "other" not in event


def test_a_cloud_event_keeps_its_members() -> None:
    body = b'{"topic":"x","custom":[1, 2],"type":null,"source":"me","traceid":"given","data":"d"}'
    event = json.loads(complete(body, topic="t", pubsub="ps", traceparent="tp"))
    assert event.pop("time")
    assert event == {
        "custom": [1, 2],
        "data": "d",
        "pubsubname": "ps",
        "source": "me",
        "specversion": "1.0",
        "topic": "t",
        "traceid": "given",
        "tracestate": "",
        "type": "com.dapr.event.sent",
    }


def test_a_cloud_event_gets_no_id() -> None:
    event = json.loads(complete(b'{"data":1}', topic="t", pubsub="ps", traceparent="tp"))
    assert "id" not in event
    assert "datacontenttype" not in event
    assert event["traceid"] == event["traceparent"] == "tp"
    assert event["source"] == "Dapr"


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b"{", b'{"a":NaN}', b'{"a":1}x', b'{"a":1,}', b"{a:1}"]
)
def test_what_is_no_cloud_event(body: bytes) -> None:
    with pytest.raises(ValueError):
        complete(body, topic="t", pubsub="ps")


def test_raw_messages_are_wrapped_for_the_app() -> None:
    event = json.loads(wrap_raw(b"text", topic="r", pubsub="ps", metadata={"traceid": "x"}))
    assert UUID4.fullmatch(event.pop("id"))
    assert event == {
        "data_base64": "dGV4dA==",
        "datacontenttype": "application/octet-stream",
        "pubsubname": "ps",
        "source": "Dapr",
        "specversion": "1.0",
        "topic": "r",
        "traceid": "x",
        "traceparent": "x",
        "type": "com.dapr.event.sent",
    }


def test_a_protobuf_event_is_base64_and_another_protobuf_is_not() -> None:
    event = b"\x0a\x01i\x12\x01s\x1a\x031.0\x22\x01t"
    assert "data_base64" in json.loads(wrapped(event, "application/x-protobuf"))
    assert "data_base64" not in json.loads(wrapped(b"\x08\x01", "application/x-protobuf"))
    assert "data_base64" in json.loads(wrapped(b"\x08\x01", "application/cloudevents+protobuf"))


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("APPLICATION/JSON; charset=utf-8", ContentKind.JSON),
        ("application/cloudevents+json", ContentKind.CLOUD_EVENT),
        ("text/html", ContentKind.TEXT),
        ("application/xml", ContentKind.TEXT),
        ("application/problem+json", ContentKind.OTHER),
    ],
)
def test_content_kinds(content_type: str, kind: ContentKind) -> None:
    assert content_kind(content_type) is kind


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("0", None), ("-1", None), ("abc", None), ("1.5", None), ("9" * 5000, None)],
)
def test_ttl(text: str, seconds: int | None) -> None:
    assert ttl_seconds({"TTLInSeconds": text}) == seconds


def test_expiration() -> None:
    assert expiration_of(None) == ""
    assert not is_expired(expiration_of(60))
    assert is_expired("2020-01-01T00:00:00Z")
    assert not is_expired("soon")
    assert not is_expired(None)
    assert expiration_of(10**18) == ""


def test_ids_differ() -> None:
    assert len({new_id() for _ in range(1000)}) == 1000


def test_the_time_is_cached_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope.time, "time", lambda: 1.9)
    assert envelope.now_text() == envelope.now_text()
    monkeypatch.setattr(time, "time", lambda: 2.0)
    assert envelope.now_text()[17:19] == "02"
