from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_common.kube import resources
from dapr_sidecar.blocks.state.rules import OutboxSettings, key_prefix, store_rules, strip_prefix
from dapr_sidecar.components.metadata import SettingsError


@pytest.mark.parametrize(
    ("strategy", "namespace", "prefix"),
    [
        ("", "ns", "app1||"),
        ("appid", "ns", "app1||"),
        ("AppId", "ns", "app1||"),
        ("name", "ns", "Store||"),
        ("NAME", "", "Store||"),
        ("namespace", "ns", "ns.app1||"),
        ("namespace", "", "app1||"),
        ("none", "ns", ""),
        ("None", "ns", ""),
        ("MyPre", "ns", "mypre||"),
        ("a|b", "", "a|b||"),
    ],
)
def test_every_strategy(strategy: str, namespace: str, prefix: str) -> None:
    assert key_prefix(strategy, "Store", "app1", namespace) == prefix


def test_a_prefix_with_the_separator_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"input key/keyPrefix 'a\|\|b' can't contain '\|\|'"):
        key_prefix("A||b", "Store", "app1", "")


@pytest.mark.parametrize(
    ("stored", "key"),
    [("app1||k", "k"), ("k", "k"), ("a||k||more", "k"), ("app1||", ""), ("a|b", "a|b")],
)
def test_stored_keys_are_shown_without_prefix(stored: str, key: str) -> None:
    assert strip_prefix(stored) == key


@given(
    st.sampled_from(["appid", "name", "namespace", "none", "x"]),
    st.text().filter(lambda key: "||" not in key),
)
def test_what_was_prefixed_is_found_again(strategy: str, key: str) -> None:
    prefix = key_prefix(strategy, "st", "app1", "ns")
    if prefix:  # a key that begins with a bar takes part of the separator, as in Dapr
        assert strip_prefix(prefix + key).lstrip("|") == key.lstrip("|")
    else:
        assert strip_prefix(key) == key


@pytest.mark.parametrize(
    ("properties", "outbox"),
    [
        ({}, None),
        ({"outboxpublishpubsub": "ps"}, None),
        ({"outboxpublishtopic": "t"}, None),
        (
            {"outboxpublishpubsub": "ps", "outboxpublishtopic": "t"},
            OutboxSettings("ps", "t", "ps", False),
        ),
        (
            {
                "outboxpublishpubsub": "ps",
                "outboxpublishtopic": "t",
                "outboxpubsub": "inner",
                "outboxdiscardwhenmissingstate": "True",
            },
            OutboxSettings("ps", "t", "inner", True),
        ),
    ],
)
def test_an_outbox_needs_pubsub_and_topic(
    properties: dict[str, str], outbox: OutboxSettings | None
) -> None:
    manifest = resources.Component("st", "state.x")
    assert store_rules(manifest, properties, "app1", "").outbox == outbox
