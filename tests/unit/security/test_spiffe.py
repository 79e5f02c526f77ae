"""SPIFFE ids: what is one, what is not, and that parts and text say the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_common.security.spiffe import SpiffeError, SpiffeId, parse_trust_domain

_PART = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,20}", fullmatch=True)
_DOMAIN = st.from_regex(r"[a-z0-9_-][a-z0-9._-]{0,20}", fullmatch=True)


@given(_DOMAIN, _PART, _PART)
def test_text_and_parts_are_the_same(domain: str, namespace: str, app_id: str) -> None:
    made = SpiffeId.make(domain, namespace, app_id)
    assert SpiffeId.parse(str(made)) == made
    assert str(made) == f"spiffe://{domain}/ns/{namespace}/{app_id}"


def test_segments_after_the_app_id_are_kept() -> None:
    found = SpiffeId.parse("spiffe://public/ns/default/app/more/of-it")
    assert (found.namespace, found.app_id, found.more) == ("default", "app", "/more/of-it")
    assert found.path == "/ns/default/app/more/of-it"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://public/ns/default/app",
        "spiffe://public",
        "spiffe://public/ns/default",
        "spiffe://public/ns//app",
        "spiffe://public/ns/default/",
        "spiffe://public/namespace/default/app",
        "spiffe:///ns/default/app",
        "spiffe://PUBLIC/ns/default/app",
        "spiffe://public/ns/default/a pp",
        "spiffe://public/ns/default/..",
        "spiffe://public/ns/default/a%2Fb",
        "spiffe://user@public/ns/default/app",
        "spiffe://public:1/ns/default/app",
        "spiffe://public/ns/default/app?x=1",
        "spiffe://public/ns/default/app#x",
        "spiffe://public/ns/default/app\n",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(SpiffeError, match="malformed SPIFFE ID"):
        SpiffeId.parse(text)


@pytest.mark.parametrize("part", ["", "a/b", "a b", ".", "..", "ä", "a\n"])
def test_parts_that_cannot_stand_in_one(part: str) -> None:
    with pytest.raises(SpiffeError):
        SpiffeId.make("public", "default", part)
    with pytest.raises(SpiffeError):
        SpiffeId.make("public", part, "app")


def test_trust_domains() -> None:
    assert parse_trust_domain("cluster.local") == "cluster.local"
    assert parse_trust_domain("spiffe://x.y/z") == "x.y"
    for wrong in ("UPPER", "a b", "a/b", "a:1", "\u00e4"):
        with pytest.raises(SpiffeError, match="trust domain characters are limited to"):
            parse_trust_domain(wrong)
    with pytest.raises(SpiffeError, match="missing"):
        parse_trust_domain("")
