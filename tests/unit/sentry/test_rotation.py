"""Another root or issuer: whoever knows the old anchors or the new ones trusts both sides."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from harness.authorities import (
    YEAR,
    below,
    brought,
    handshake,
    library_verify,
    now,
    openssl_verify,
    root,
    with_path_length,
    workload,
)

from dapr_common.security.authority import BundleError, CaBundle, Life, load_bundle, new_bundle
from dapr_common.security.rotation import (
    has_root_of,
    renewed_issuer,
    rotated,
    without_expired_anchors,
)
from dapr_common.security.x509 import CertificateError, KeyKind, new_private_key, verify_chain

KINDS: list[KeyKind] = ["ed25519", "ecdsa", "rsa"]


def read_back(bundle: CaBundle, at: datetime | None = None) -> CaBundle:
    """As the next start of sentry sees it."""
    return load_bundle(
        ca_crt=bundle.anchors_pem,
        issuer_crt=bundle.chain_pem,
        issuer_key=bundle.key_pem,
        now=at or now(),
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_no_connection_fails_in_a_rotation(kind: KeyKind, tmp_path: Path) -> None:
    before = brought(kind) if kind != "ed25519" else new_bundle("a.b", "ns", Life.of(now()))
    after = read_back(rotated(before, now(), Life.of(now())))
    old, new = workload(before), workload(after)
    for svid in (old, new):
        for anchors in (before.anchors, after.anchors):
            verify_chain(svid.chain, anchors, now())
            assert openssl_verify(svid.chain, anchors, tmp_path) == ""
            if kind != "ed25519":
                library_verify(svid.chain, anchors)
    await handshake(old, new)
    await handshake(new, old)


def test_the_new_root_alone_is_enough_for_new_certificates(tmp_path: Path) -> None:
    before = brought()
    after = rotated(before, now(), Life.of(now()))
    new, old = workload(after), workload(before)
    assert openssl_verify(new.chain, after.anchors[:1], tmp_path) == ""
    assert openssl_verify(old.chain, after.anchors[:1], tmp_path) != ""
    with pytest.raises(CertificateError):
        verify_chain(old.chain, after.anchors[:1], now())


async def test_strangers_are_refused_whatever_is_rotated() -> None:
    ours = workload(rotated(brought(), now(), Life.of(now())))
    stranger = workload(rotated(brought(), now(), Life.of(now())))
    with pytest.raises(ssl.SSLError):
        await handshake(ours, stranger)


@pytest.mark.parametrize("times", [2, 3])
async def test_rotation_after_rotation(times: int, tmp_path: Path) -> None:
    bundles = [new_bundle("cluster.local", "dapr-system", Life.of(now()))]
    for _ in range(times):
        bundles.append(read_back(rotated(bundles[-1], now(), Life.of(now()))))
    newest = workload(bundles[-1])
    for bundle in bundles:
        assert openssl_verify(newest.chain, bundle.anchors, tmp_path) == ""
        await handshake(newest, workload(bundle))
    assert len({one.subject.rfc4514_string() for one in bundles[-1].anchors}) == times + 1


def test_roots_are_named_alike_but_apart() -> None:
    before = new_bundle("cluster.local", "dapr-system", Life.of(now()))
    once = rotated(before, now(), Life.of(now()))
    twice = rotated(once, now(), Life.of(now()))
    names = [anchor.subject.rfc4514_string() for anchor in twice.anchors]
    assert names[2] == "O=cluster.local"
    assert all(name.startswith("CN=root ") and "O=cluster.local" in name for name in names[:2])
    assert once.issuer.subject == before.issuer.subject


def test_a_key_for_the_new_root_can_be_given() -> None:
    key = new_private_key("ecdsa")
    after = rotated(brought(), now(), Life.of(now()), key)
    assert has_root_of(after, key)
    assert after.anchors[0].public_key() == key.public_key()


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_keys_stay(kind: KeyKind) -> None:
    before = brought(kind)
    after = renewed_issuer(before, Life.of(now()))
    assert type(after.key) is type(before.key)
    assert after.key.public_key() != before.key.public_key()


async def test_a_root_that_was_the_issuer_itself(tmp_path: Path) -> None:
    anchor, key = root()
    before = read_back(CaBundle((anchor,), (anchor,), key))
    old = workload(before)
    assert len(old.chain) == 1
    for after in (
        rotated(before, now(), Life.of(now())),
        renewed_issuer(before, Life.of(now())),
        renewed_issuer(before, Life.of(now()), key),
    ):
        new = workload(read_back(after))
        for anchors in (before.anchors, after.anchors):
            assert openssl_verify(new.chain, anchors, tmp_path) == ""
            assert openssl_verify(old.chain, anchors, tmp_path) == ""
        await handshake(new, old)


# --- ends ---------------------------------------------------------------------------------------


def test_the_cross_certificate_ends_with_who_signed_it() -> None:
    short = Life.of(now(), timedelta(days=3))
    before = brought(life=short)
    after = rotated(before, now(), Life.of(now()))
    root_now, cross = after.anchors[0], after.chain[1]
    assert cross.public_key() == root_now.public_key()
    assert cross.not_valid_after_utc == before.issuer.not_valid_after_utc
    assert root_now.not_valid_after_utc > now() + YEAR - timedelta(hours=1)


def test_an_authority_that_has_ended_is_followed_without_a_cross_certificate() -> None:
    ended = brought(life=Life(now() - YEAR, now() - timedelta(hours=1)))
    after = read_back(rotated(ended, now(), Life.of(now())))
    assert len(after.chain) == 1
    assert len(after.anchors) == 2  # nothing of the old bundle is usable, so it is kept whole
    workload(after)


def test_expired_anchors_go_with_what_led_to_them() -> None:
    before = brought(life=Life.of(now(), timedelta(days=30)))
    after = rotated(before, now(), Life.of(now()))
    same = without_expired_anchors(after, now())
    assert (same.anchors, same.chain) == (after.anchors, after.chain)
    later = now() + timedelta(days=31)
    cleaned = without_expired_anchors(after, later)
    assert (cleaned.anchors, cleaned.chain) == (after.anchors[:1], after.chain[:1])
    read_back(cleaned, later)


def test_an_issuer_that_has_ended_under_a_root_that_lives_goes_from_the_chain() -> None:
    anchor, anchor_key = root()
    issuer, key = below(anchor, anchor_key, life=Life.of(now(), timedelta(days=30)))
    after = rotated(CaBundle((anchor,), (issuer,), key), now(), Life.of(now()))
    cleaned = without_expired_anchors(after, now() + timedelta(days=31))
    assert cleaned.anchors == after.anchors
    assert cleaned.chain == after.chain[:1]


def test_nothing_is_cleaned_away_when_all_has_ended() -> None:
    bundle = brought()
    assert without_expired_anchors(bundle, now() + 2 * YEAR) is bundle


# --- the issuer alone ---------------------------------------------------------------------------


def test_an_issuer_is_renewed_with_the_roots_key(tmp_path: Path) -> None:
    anchor, anchor_key = root(life=Life.of(now(), timedelta(days=100)))
    issuer, key = below(anchor, anchor_key)
    before = CaBundle((anchor,), (issuer,), key)
    after = read_back(renewed_issuer(before, Life.of(now()), anchor_key))
    assert after.anchors == before.anchors
    assert len(after.chain) == 1
    assert after.issuer.not_valid_after_utc == anchor.not_valid_after_utc
    assert openssl_verify(workload(after).chain, before.anchors, tmp_path) == ""


def test_an_issuer_is_renewed_by_the_one_before(tmp_path: Path) -> None:
    before = brought()
    after = read_back(renewed_issuer(before, Life.of(now(), 10 * YEAR)))
    assert after.anchors == before.anchors
    assert after.issuer.not_valid_after_utc == before.issuer.not_valid_after_utc
    assert openssl_verify(workload(after).chain, before.anchors, tmp_path) == ""


def test_after_a_rotation_the_way_from_old_anchors_is_kept(tmp_path: Path) -> None:
    before, root_key = brought(), new_private_key("ecdsa")
    between = rotated(before, now(), Life.of(now()), root_key)
    after = read_back(renewed_issuer(between, Life.of(now()), root_key))
    for anchors in (before.anchors, between.anchors):
        assert openssl_verify(workload(after).chain, anchors, tmp_path) == ""


def test_a_strangers_key_renews_nothing() -> None:
    with pytest.raises(BundleError, match="not the one of any trust anchor"):
        renewed_issuer(brought(), Life.of(now()), new_private_key("ecdsa"))


def test_path_lengths_are_respected() -> None:
    anchor, anchor_key = root()
    issuer, key = below(anchor, anchor_key)
    tight = with_path_length(issuer, anchor_key, 0)
    bundle = CaBundle((anchor,), (tight,), key)
    for attempt in (
        lambda: rotated(bundle, now(), Life.of(now())),
        lambda: renewed_issuer(bundle, Life.of(now())),
    ):
        with pytest.raises(BundleError, match=r"path length.*use the key of the root"):
            attempt()
    renewed_issuer(bundle, Life.of(now()), anchor_key)
    roomy = CaBundle((anchor,), (with_path_length(issuer, anchor_key, 2),), key)
    rotated(roomy, now(), Life.of(now()))
    limited = CaBundle((with_path_length(anchor, anchor_key, 2),), (issuer,), key)
    with pytest.raises(BundleError, match="allows only 2 CAs below it"):
        rotated(limited, now(), Life.of(now()))
