"""Bundles as sentry makes and reads them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtensionOID
from harness import authorities
from harness.authorities import YEAR, below, brought, now, root

from dapr_common.security.authority import (
    BundleError,
    CaBundle,
    Life,
    Names,
    load_bundle,
    new_bundle,
)
from dapr_common.security.x509 import KeyKind, new_private_key, write_private_key

MOMENT = now().replace(microsecond=0)


def files(bundle: CaBundle, **other: bytes) -> dict[str, bytes]:
    own = {
        "ca_crt": bundle.anchors_pem,
        "issuer_crt": bundle.chain_pem,
        "issuer_key": bundle.key_pem,
    }
    return own | other


def refused(at: datetime | None = None, **given: Any) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(now=at or now(), **given)
    return str(caught.value)


def extension(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> x509.Extension[Any]:
    return certificate.extensions.get_extension_for_oid(oid)


# --- what is made -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made() -> CaBundle:
    return new_bundle("cluster.local", "dapr-system", Life.of(MOMENT))


def test_subjects_and_keys(made: CaBundle) -> None:
    (anchor,), (issuer,) = made.anchors, made.chain
    assert anchor.subject.rfc4514_string() == anchor.issuer.rfc4514_string() == "O=cluster.local"
    own = "O=spiffe://cluster.local/ns/dapr-system/dapr-sentry"
    assert issuer.subject.rfc4514_string() == own
    assert issuer.issuer == anchor.subject
    for certificate in (anchor, issuer):
        assert isinstance(certificate.public_key(), ed25519.Ed25519PublicKey)
    assert made.key.public_key() == issuer.public_key()


def test_validity_is_a_year_and_the_clock_skew(made: CaBundle) -> None:
    for certificate in (*made.anchors, *made.chain):
        assert certificate.not_valid_before_utc == MOMENT - timedelta(minutes=15)
        assert certificate.not_valid_after_utc == MOMENT + YEAR


def test_extensions(made: CaBundle) -> None:
    (anchor,), (issuer,) = made.anchors, made.chain
    for certificate in (anchor, issuer):
        constraints = extension(certificate, ExtensionOID.BASIC_CONSTRAINTS)
        assert constraints.critical
        assert constraints.value == x509.BasicConstraints(ca=True, path_length=None)
        usage = extension(certificate, ExtensionOID.KEY_USAGE)
        assert usage.critical
        assert usage.value.digital_signature
        assert usage.value.key_cert_sign
        extension(certificate, ExtensionOID.SUBJECT_KEY_IDENTIFIER)
        for absent in (ExtensionOID.EXTENDED_KEY_USAGE, ExtensionOID.SUBJECT_ALTERNATIVE_NAME):
            with pytest.raises(x509.ExtensionNotFound):
                extension(certificate, absent)
    assert not extension(anchor, ExtensionOID.KEY_USAGE).value.crl_sign
    assert extension(issuer, ExtensionOID.KEY_USAGE).value.crl_sign


def test_serial_numbers_are_random_and_of_128_bits(made: CaBundle) -> None:
    several = [new_bundle("a", "b", Life.of(MOMENT)) for _ in range(8)]
    numbers = {one.serial_number for b in several for one in (*b.anchors, *b.chain)}
    assert len(numbers) == 16
    assert all(0 < number < 1 << 128 for number in numbers)
    assert max(numbers) > 1 << 120


def test_what_is_made_can_be_read(made: CaBundle) -> None:
    assert load_bundle(now=MOMENT, **files(made)).chain == made.chain


# --- what is brought ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_every_kind_of_key_is_read(kind: KeyKind) -> None:
    bundle = brought(kind)
    found = load_bundle(now=now(), **files(bundle))
    assert (found.anchors, found.chain) == (bundle.anchors, bundle.chain)
    assert found.key.public_key() == bundle.key.public_key()


def test_older_forms_of_keys_are_read() -> None:
    for kind in ("ecdsa", "rsa"):
        bundle = brought(kind)  # type: ignore[arg-type]
        pem = bundle.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        assert b" PRIVATE KEY" in pem
        assert b"BEGIN PRIVATE KEY" not in pem
        load_bundle(now=now(), **files(bundle, issuer_key=pem))


def test_a_root_at_the_end_of_the_chain_is_left_out_and_comments_are_stripped() -> None:
    bundle = brought()
    text = b"subject=My Issuer\n" + bundle.chain_pem + b"# root\n" + bundle.anchors_pem
    found = load_bundle(now=now(), **files(bundle, issuer_crt=text))
    assert found.chain == bundle.chain
    assert found.chain_pem == bundle.chain_pem


def test_a_root_that_signs_itself_and_workloads_is_kept() -> None:
    anchor, key = root()
    bundle = CaBundle((anchor,), (anchor,), key)
    assert load_bundle(now=now(), **files(bundle)).chain == (anchor,)


def test_longer_chains_and_several_anchors() -> None:
    anchor, anchor_key = root()
    other, _ = root(called="Another Root")
    middle, middle_key = below(anchor, anchor_key, called="Middle")
    issuer, key = below(middle, middle_key)
    bundle = CaBundle((other, anchor), (issuer, middle), key)
    assert load_bundle(now=now(), **files(bundle)).chain == (issuer, middle)
    assert bundle.nearest_root == anchor
    turned = CaBundle((), (middle, issuer), key).chain_pem
    text = refused(**files(bundle, issuer_crt=turned))
    assert "'CN=Middle' is not signed by 'CN=My Issuer', which comes next" in text


# --- what is wrong ------------------------------------------------------------------------------


def _encrypted(bundle: CaBundle) -> bytes:
    return bundle.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda b: {"ca_crt": b""}, ["ca.crt: ", "CERTIFICATE blocks"]),
        (lambda b: {"issuer_crt": b"nothing"}, ["issuer.crt: ", "CERTIFICATE blocks"]),
        (lambda b: {"issuer_key": b"nothing"}, ["issuer.key: ", "PKCS#8"]),
        (lambda b: {"issuer_key": _encrypted(b)}, ["issuer.key: ", "encrypted", "-nocrypt"]),
        (lambda b: {"ca_crt": b.chain_pem}, ["ca.crt: ", "not self-signed", "intermediates"]),
        (
            lambda b: {"issuer_key": write_private_key(new_private_key("ecdsa"))},
            ["issuer.key: ", "not the one of the issuer certificate", "replace ca.crt"],
        ),
        (
            lambda b: {"ca_crt": brought().anchors_pem},
            ["issuer.crt: ", "signed by no trust anchor", "ca.crt", "replace"],
        ),
        (
            lambda b: {"issuer_crt": b.chain_pem + brought().chain_pem},
            ["issuer.crt: ", "is not signed by", "put the issuer first"],
        ),
    ],
)
def test_errors_name_the_file_the_fault_and_the_remedy(
    other: Callable[[CaBundle], dict[str, bytes]], words: list[str]
) -> None:
    bundle = brought()
    text = refused(**files(bundle, **other(bundle)))
    for word in words:
        assert word in text
    key = bundle.key_pem.splitlines()[1].decode()
    assert key not in text


def test_certificates_that_may_not_sign() -> None:
    bundle = brought()
    leaf = authorities.workload(bundle)
    pem = authorities.write_certificates(leaf.chain[:1])
    given = files(bundle, issuer_crt=pem, issuer_key=write_private_key(leaf.key))
    assert "issuer.crt: certificate with serial number" in refused(**given)
    assert "may not sign others" in refused(**given)


def test_unsupported_keys() -> None:
    from cryptography.hazmat.primitives.asymmetric import dsa

    pem = dsa.generate_private_key(1024).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    assert "unsupported private key" in refused(**files(brought(), issuer_key=pem))


def test_times() -> None:
    bundle = brought()
    assert "has expired on" in refused(now() + 2 * YEAR, **files(bundle))
    assert "is not valid before" in refused(now() - timedelta(hours=1), **files(bundle))
    # An old anchor that has ended does not matter beside the one in use.
    ended, _ = root(life=Life(now() - YEAR, now() - timedelta(days=1)))
    both = CaBundle((ended, *bundle.anchors), bundle.chain, bundle.key)
    load_bundle(now=now(), **files(both))


def test_names_of_files_are_the_users_own() -> None:
    names = Names("/etc/ca/root.pem", "/etc/ca/chain.pem", "/etc/ca/key.pem")
    text = refused(names=names, **files(brought(), issuer_key=brought().key_pem))
    assert text.startswith("/etc/ca/key.pem: ")
    assert "/etc/ca/chain.pem" in text


def test_curves_are_signed_with_their_own_digest() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    bundle = CaBundle((), (), key)
    anchor = authorities.ca_certificate(
        authorities.name("r"),
        key.public_key(),
        authorities.Signer(authorities.name("r"), bundle.key),
        Life.of(now()),
    )
    digest = anchor.signature_hash_algorithm
    assert digest is not None
    assert digest.name == "sha384"
