from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_sidecar.blocks.pubsub.rawjson import array_items, object_members, quoted

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
INDENTS = st.sampled_from([None, 0, 2])


@given(st.dictionaries(st.text(), JSON, max_size=6), INDENTS)
def test_members(value: dict[str, object], indent: int | None) -> None:
    found = object_members(json.dumps(value, indent=indent))
    assert {name: raw.value for name, raw in found.items()} == value
    assert {name: json.loads(raw.text) for name, raw in found.items()} == value


@given(st.lists(JSON, max_size=6), INDENTS)
def test_items(value: list[object], indent: int | None) -> None:
    assert [raw.value for raw in array_items(json.dumps(value, indent=indent))] == value


@pytest.mark.parametrize("text", ["", "[", "[1", "[1,]", "[1]]", "{}", "[NaN]", "[1 2]"])
def test_no_array(text: str) -> None:
    with pytest.raises(ValueError):
        list(array_items(text))


def test_depth_is_an_error_and_no_crash() -> None:
    with pytest.raises(ValueError):
        object_members('{"a":' + "[" * 100_000)


def test_a_lone_surrogate_can_be_quoted() -> None:
    assert json.loads(quoted("a\ud800")) == "a?"
