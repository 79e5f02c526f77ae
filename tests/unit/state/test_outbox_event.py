from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_sidecar.blocks.state.go_text import go_text
from dapr_sidecar.blocks.state.items import SaveItem
from dapr_sidecar.blocks.state.outbox_event import (
    failure_marker,
    internal_event,
    internal_topic,
    is_projection,
    marker_of,
    public_event,
)
from dapr_sidecar.components.state.base import Json, StateValue

MARKER = "outbox-7b0ee8b5-4c1e-4b6e-9a51-3f4f6f6a3a4b"
ALWAYS = {"id", "source", "specversion", "type", "time", "topic", "pubsubname"} | {
    "traceid",
    "traceparent",
    "tracestate",
}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "<nil>"),
        (True, "true"),
        ("t", "t"),
        ({"a": 1, "B": [1, 2], "0": None}, "map[0:<nil> B:[1 2] a:1]"),
        ({}, "map[]"),
        ([1, "x", {"y": "z"}], "[1 x map[y:z]]"),
        ([], "[]"),
        (0, "0"),
        (-7, "-7"),
        (1.5, "1.5"),
        (100000, "100000"),
        (999999, "999999"),
        (1000000, "1e+06"),
        (123456789, "1.23456789e+08"),
        (-1234567.5, "-1.2345675e+06"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (1e21, "1e+21"),
        (1.5e-7, "1.5e-07"),
        (1e100, "1e+100"),
        (2**53, "9.007199254740992e+15"),
        (2**53 + 1, "9007199254740993"),  # Go would change the number
    ],
)
def test_values_as_go_prints_them(value: object, text: str) -> None:
    assert go_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_printed_numbers_are_the_same_numbers(value: float) -> None:
    assert float(go_text(value)) == value


def event(
    value: StateValue,
    metadata: Mapping[str, str] | None = None,
    *,
    content_type: str = "",
    shown: SaveItem | None = None,
    transaction: Mapping[str, str] | None = None,
    **trace: str,
) -> Any:
    item = SaveItem("k", value, metadata=metadata or {}, content_type=content_type)
    body = internal_event(
        MARKER, item, shown or item, transaction or {}, source="app1", pubsub="inner", **trace
    )
    assert list(orjson.loads(body)) == sorted(orjson.loads(body))
    return orjson.loads(body)


def test_the_event_waits_under_its_marker_without_a_topic() -> None:
    found = event(Json({"a": 1}), traceparent="00-1-2-01", tracestate="s")
    assert found.keys() == ALWAYS | {"data", "datacontenttype"}
    assert (found["id"], found["source"], found["topic"]) == (MARKER, "app1", "")
    assert (found["pubsubname"], found["type"]) == ("inner", "com.dapr.event.sent")
    assert found["traceid"] == found["traceparent"] == "00-1-2-01"
    assert found["tracestate"] == "s"
    public = orjson.loads(public_event(orjson.dumps(found), topic="orders", pubsub="ps"))
    assert public == {**found, "topic": "orders", "pubsubname": "ps"}


JSON = "application/json"


@pytest.mark.parametrize(
    ("value", "metadata", "content_type", "transaction", "data", "shown_type"),
    [
        (Json({"a": 1}), {}, "", {}, "map[a:1]", "text/plain"),
        (Json("t"), {}, "", {}, "t", "text/plain"),
        (Json({"a": "<"}), {"contentType": JSON}, "", {}, {"a": "<"}, JSON),
        (Json({"a": 1}), {"CONTENTTYPE": JSON}, "", {}, {"a": 1}, JSON),
        (Json({"a": 1}), {}, JSON, {}, {"a": 1}, JSON),
        (Json({"a": 1}), {}, "", {"contentType": JSON}, {"a": 1}, JSON),
        (Json({"a": 1}), {"contentType": "text/x"}, "", {"contentType": JSON}, "map[a:1]", None),
        (b"hi", {}, "", {}, "hi", "text/plain"),
        (b'{"a":1}', {}, "", {}, '{"a":1}', "text/plain"),
        (b'{"a":1}', {}, "", {"contentType": JSON}, {"a": 1}, JSON),
        (b"{oops", {}, JSON, {}, "{oops", JSON),
    ],
)
def test_data_is_text_unless_it_is_called_json(
    value: StateValue,
    metadata: Mapping[str, str],
    content_type: str,
    transaction: Mapping[str, str],
    data: object,
    shown_type: str | None,
) -> None:
    found = event(value, metadata, content_type=content_type, transaction=transaction)
    assert found["data"] == data
    assert found["datacontenttype"] == (shown_type or "text/plain")


def test_bytes_that_are_no_text_keep_every_byte() -> None:
    found = event(b"\xff\x00")
    assert "data" not in found
    assert (found["data_base64"], found["datacontenttype"]) == ("/wA=", "application/octet-stream")


def test_metadata_goes_into_the_event_but_nothing_takes_the_place_of_data_and_id() -> None:
    given_metadata = {
        "outbox.cloudevent.type": "order.made",
        "cloudevent.source": "shop",
        "Outbox.CloudEvent.subject": "42",
        "outbox.cloudevent.colour": "red",
        "outbox.cloudevent.traceparent": "00-9-9-01",
        "outbox.cloudevent.id": "mine",
        "outbox.cloudevent.data": "other",
        "cloudevent.data_base64": "AA==",
        "plain": "<x>",
        "data": "no",
        "id": "no",
        "topic": "no",
        "pubsubname": "no",
        "outbox.projection": "false",
    }
    found = event(Json("v"), given_metadata)
    assert (found["data"], found["id"], found["topic"]) == ("v", MARKER, "")
    assert (found["type"], found["source"], found["subject"]) == ("order.made", "shop", "42")
    assert (found["colour"], found["plain"]) == ("red", "<x>")
    assert found["traceid"] == found["traceparent"] == "00-9-9-01"
    assert found["outbox.cloudevent.type"] == "order.made"  # pairs are copied as they are, too
    assert found["pubsubname"] == "inner"
    assert not {"data_base64", "outbox.projection"} & found.keys()


def test_a_projection_shows_its_value_and_its_overrides() -> None:
    shown = SaveItem(
        "k", Json({"b": 2}), metadata={"outbox.projection": "true", "cloudevent.type": "t"}
    )
    assert is_projection(shown)
    assert not is_projection(SaveItem("k", b"", metadata={"outbox.projection": "false"}))
    found = event(Json({"a": 1}), {"contentType": JSON, "x": "y"}, shown=shown)
    assert (found["data"], found["type"], found["x"]) == ({"b": 2}, "t", "y")


def test_names_and_markers() -> None:
    assert internal_topic("nsx", "cap2", "ordersout") == "nsxcap2ordersoutoutbox"
    assert failure_marker(MARKER) == "outbox-failed-" + MARKER.removeprefix("outbox-")
    assert marker_of(b'{"id":"outbox-1"}') == "outbox-1"
    for body in (b"", b"{", b"[]", b"{}", b'{"id":1}', b'{"id":"x"}', b"[" * 5000):
        assert marker_of(body) is None
