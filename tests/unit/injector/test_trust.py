from __future__ import annotations

from datetime import UTC, datetime

from harness.identities import Authority

from dapr_injector.trust import trusted_by_callers

ID = "spiffe://cluster.local/ns/dapr-system/dapr-injector"
OLD, NEW = Authority.root("old"), Authority.root("new")
NOW = datetime.now(UTC)


def test_callers_trust_the_anchors() -> None:
    anchors = (NEW.certificate,)
    assert trusted_by_callers(anchors, NEW.svid(ID).chain, (OLD.certificate,), NOW) == anchors


def test_until_the_certificate_is_of_the_new_authority_the_old_one_stays() -> None:
    anchors, before = (NEW.certificate,), (OLD.certificate,)
    both = (NEW.certificate, OLD.certificate)
    chain = OLD.intermediate().svid(ID).chain
    assert trusted_by_callers(anchors, chain, before, NOW) == both
    assert trusted_by_callers(anchors, chain, both, NOW) == both
    assert trusted_by_callers(anchors, NEW.svid(ID).chain, both, NOW) == anchors
