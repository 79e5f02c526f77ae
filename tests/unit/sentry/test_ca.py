"""Workload certificates, as the contract's table has them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from harness.authorities import (
    APP,
    YEAR,
    authority,
    below,
    brought,
    now,
    openssl_verify,
    root,
    workload,
)

from dapr_common.security.authority import CaBundle, Life, new_bundle
from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.x509 import KeyKind, new_private_key, read_certificates
from dapr_sentry.ca import IssuerNotValidError, dns_names
from dapr_sentry.expiry import expiry_notices

KEY = new_private_key("ed25519").public_key()
MOMENT = now().replace(microsecond=0)


@pytest.fixture(scope="module")
def bundle() -> CaBundle:
    return new_bundle("cluster.local", "dapr-system", Life.of(MOMENT))


def extension(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> x509.Extension[Any]:
    return certificate.extensions.get_extension_for_oid(oid)


def test_the_certificate(bundle: CaBundle) -> None:
    issued = authority(bundle).issue(APP, KEY, MOMENT)
    leaf = issued.leaf
    assert list(leaf.subject) == []
    assert leaf.issuer == bundle.issuer.subject
    assert leaf.public_key() == KEY
    assert 0 < leaf.serial_number < 1 << 128
    assert leaf.not_valid_before_utc == MOMENT - timedelta(minutes=15)
    assert leaf.not_valid_after_utc == issued.not_after == MOMENT + timedelta(hours=1)
    names = extension(leaf, ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    assert names.critical
    assert list(names.value) == [x509.UniformResourceIdentifier("spiffe://public/ns/shop/orders")]
    usage = extension(leaf, ExtensionOID.KEY_USAGE)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    extended = extension(leaf, ExtensionOID.EXTENDED_KEY_USAGE).value
    assert set(extended) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    own = extension(bundle.issuer, ExtensionOID.SUBJECT_KEY_IDENTIFIER).value.digest
    assert extension(leaf, ExtensionOID.AUTHORITY_KEY_IDENTIFIER).value.key_identifier == own
    with pytest.raises(x509.ExtensionNotFound):
        extension(leaf, ExtensionOID.BASIC_CONSTRAINTS)
    assert len(leaf.extensions) == 4


def test_the_chain_is_the_leaf_and_the_intermediates() -> None:
    anchor, anchor_key = root()
    middle, middle_key = below(anchor, anchor_key)
    issuer, key = below(middle, middle_key)
    issued = authority(CaBundle((anchor,), (issuer, middle), key)).issue(APP, KEY, now())
    assert read_certificates(issued.chain_pem) == (issued.leaf, issuer, middle)
    alone = authority(CaBundle((anchor,), (anchor,), anchor_key)).issue(APP, KEY, now())
    assert read_certificates(alone.chain_pem) == (alone.leaf,)


@pytest.mark.parametrize("issuer_kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_openssl_is_strict_and_content(issuer_kind: KeyKind, kind: KeyKind, tmp_path: Path) -> None:
    bundle = brought(issuer_kind)
    assert openssl_verify(workload(bundle, kind).chain, bundle.anchors, tmp_path) == ""


def test_dns_names_are_for_the_control_plane_in_its_own_namespace(bundle: CaBundle) -> None:
    ca = authority(bundle)

    def names(namespace: str, app_id: str) -> list[str]:
        leaf = ca.issue(SpiffeId("public", namespace, app_id), KEY, MOMENT).leaf
        value = extension(leaf, ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
        found: list[str] = value.get_values_for_type(x509.DNSName)
        return found

    assert names("dapr-system", "dapr-injector") == ["dapr-sidecar-injector.dapr-system.svc"]
    assert names("dapr-system", "dapr-operator") == ["dapr-webhook.dapr-system.svc"]
    assert names("dapr-system", "dapr-scheduler") == [
        f"dapr-scheduler-server-{n}.dapr-scheduler-server.dapr-system.svc.cluster.local"
        for n in range(3)
    ]
    for app_id in ("dapr-placement", "dapr-sentry", "orders"):
        assert names("dapr-system", app_id) == []
    for app_id in ("dapr-injector", "dapr-operator", "dapr-scheduler"):
        assert names("shop", app_id) == []
    assert dns_names("dapr-scheduler", "x", "corp")[2].endswith(".x.svc.corp")


def test_no_certificate_outlives_what_it_is_trusted_by() -> None:
    issuer_ends_first = brought(life=Life.of(MOMENT, timedelta(minutes=30)))
    leaf = authority(issuer_ends_first).issue(APP, KEY, MOMENT).leaf
    assert leaf.not_valid_after_utc == issuer_ends_first.issuer.not_valid_after_utc
    anchor, anchor_key = root(life=Life.of(MOMENT, timedelta(minutes=20)))
    issuer, key = below(anchor, anchor_key, life=Life.of(MOMENT))
    leaf = authority(CaBundle((anchor,), (issuer,), key)).issue(APP, KEY, MOMENT).leaf
    assert leaf.not_valid_after_utc == anchor.not_valid_after_utc


def test_nothing_is_signed_outside_the_issuers_life(bundle: CaBundle) -> None:
    ca = authority(bundle)
    with pytest.raises(IssuerNotValidError, match="has expired on"):
        ca.issue(APP, KEY, MOMENT + YEAR + timedelta(seconds=1))
    with pytest.raises(IssuerNotValidError, match="is not valid before"):
        ca.issue(APP, KEY, MOMENT - timedelta(minutes=16))


def test_the_end_is_announced() -> None:
    ca = authority(brought(life=Life.of(MOMENT)))
    assert expiry_notices(ca, MOMENT + timedelta(days=334)) == []
    month = expiry_notices(ca, MOMENT + timedelta(days=336))
    assert [notice.split(" ends on ")[0] for notice in month] == [
        "The issuer certificate",
        "The root certificate",
    ]
    assert "in 29 days" in month[0]
    assert "dapr mtls renew-certificate" in month[0]
    assert "in 5 hours" in expiry_notices(ca, MOMENT + YEAR - timedelta(hours=5))[0]
    assert "has expired on" in expiry_notices(ca, MOMENT + YEAR)[0]
    short = authority(brought(life=Life.of(MOMENT, timedelta(days=10))))
    assert expiry_notices(short, MOMENT + timedelta(days=7)) == []
    assert len(expiry_notices(short, MOMENT + timedelta(days=9))) == 2
