"""Certificates: which identity a leaf has, which chains hold, which keys can be read."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import Encoding
from harness.authorities import Authority

from dapr_common.security.x509 import (
    CertificateError,
    KeyKind,
    new_csr,
    new_private_key,
    read_certificates,
    read_private_key,
    spiffe_id,
    verify_chain,
    write_certificates,
    write_private_key,
)

_URI = "spiffe://public/ns/default/app"


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_keys_and_requests(kind: KeyKind) -> None:
    key = new_private_key(kind)
    assert read_private_key(write_private_key(key)).public_key() == key.public_key()
    request = x509.load_pem_x509_csr(new_csr(key))
    assert request.is_signature_valid
    assert request.public_key() == key.public_key()
    assert not request.subject.rdns
    assert len(request.extensions) == 0


def test_keys_that_cannot_be_read_are_not_shown() -> None:
    key = new_private_key("ecdsa")
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"word"),
    )
    with pytest.raises(CertificateError, match="encrypted"):
        read_private_key(locked)
    broken = write_private_key(key)[:-60]
    with pytest.raises(CertificateError, match="malformed") as caught:
        read_private_key(broken)
    assert broken[40:60].decode() not in str(caught.value)
    other = dsa.generate_private_key(1024).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(CertificateError, match="use Ed25519, ECDSA or RSA"):
        read_private_key(other)


def test_pem_of_several_certificates() -> None:
    issuer = Authority.root().intermediate()
    both = (issuer.certificate, issuer.top())
    assert read_certificates(b"a comment\n" + write_certificates(both)) == both
    with pytest.raises(CertificateError, match="no certificates in PEM form"):
        read_certificates(b"nothing")
    der = (
        both[0].public_bytes(Encoding.DER).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07")
    )
    body = base64.encodebytes(der)
    with pytest.raises(CertificateError, match="7 is not a valid X509 version"):
        read_certificates(b"-----BEGIN CERTIFICATE-----\n%b-----END CERTIFICATE-----\n" % body)


def test_the_identity_of_a_leaf() -> None:
    root = Authority.root()
    assert str(spiffe_id(root.svid(_URI).chain[0])) == _URI


@pytest.mark.parametrize(
    ("uris", "ca", "text"),
    [
        ((), False, "has one URI name, this one has 0"),
        ((_URI, "spiffe://public/ns/default/other"), False, "this one has 2"),
        (("https://public/ns/default/app",), False, "malformed SPIFFE ID"),
        ((_URI,), True, "a CA certificate is no workload's identity"),
    ],
)
def test_leaves_without_an_identity(uris: tuple[str, ...], ca: bool, text: str) -> None:
    leaf = Authority.root().certify(new_private_key("ecdsa").public_key(), uris=uris, ca=ca)
    with pytest.raises(CertificateError, match=text):
        spiffe_id(leaf)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_chains_that_hold(kind: KeyKind) -> None:
    root, now = Authority.root(kind=kind), datetime.now(UTC)
    issuer = root.intermediate(kind=kind).intermediate("second", kind=kind)
    other = Authority.root("root")  # the same name, another key
    chain = issuer.svid(_URI).chain
    assert len(chain) == 3
    verify_chain(chain, (other.certificate, root.certificate), now)
    verify_chain(root.svid(_URI).chain, (root.certificate,), now)


def test_chains_that_do_not_hold() -> None:
    root, day, now = Authority.root(), timedelta(days=1), datetime.now(UTC)
    issuer = root.intermediate()
    chain = issuer.svid(_URI).chain
    anchors = (root.certificate,)
    for broken, time, text in (
        (chain[:1], now, "is signed by no trust anchor (its issuer is 'CN=issuer')"),
        (chain, now + 2 * day, "has expired on"),
        (chain, now - day, "is not valid before"),
        (issuer.svid(_URI, life=-timedelta(minutes=1)).chain, now, "has expired on"),
        (root.intermediate(life=-timedelta(minutes=1)).svid(_URI).chain, now, "has expired on"),
        (Authority.root().intermediate().svid(_URI).chain, now, "is signed by no trust anchor"),
    ):
        with pytest.raises(CertificateError, match=re.escape(text)):
            verify_chain(broken, anchors, time)


def test_a_workload_cannot_sign_for_others() -> None:
    root = Authority.root()
    key = new_private_key("ecdsa")
    leaf = Authority(root.certify(key.public_key(), "leaf", uris=(_URI,)), key, root)
    forged = leaf.svid("spiffe://public/ns/other/victim").chain
    with pytest.raises(CertificateError, match="signed by no trust anchor"):
        verify_chain(forged, (root.certificate,), datetime.now(UTC))
