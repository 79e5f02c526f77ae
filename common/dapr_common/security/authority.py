"""A certificate authority as data: made, read and checked. No I/O; time is passed in.

A bundle is what sentry keeps: the trust anchors (self-signed roots), the chain of the issuer that
signs workload certificates, and that issuer's key. The key of a root that is made here is thrown
away as soon as it has signed.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from dapr_common.security.x509 import (
    CertificateError,
    PrivateKey,
    current_time_ok,
    is_ca,
    is_issued_by,
    new_private_key,
    read_certificates,
    read_private_key,
    shown,
    signing_hash,
    verify_chain,
    write_certificates,
    write_private_key,
)

PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

DEFAULT_VALIDITY = timedelta(days=365)
DEFAULT_CLOCK_SKEW = timedelta(minutes=15)
_NEW_FILES = (
    "replace ca.crt, issuer.crt and issuer.key together by files that belong together, or move "
    "all three away to have new ones made"
)


class BundleError(ValueError):
    """The files of a certificate authority cannot be used: which one, what is wrong, what to do."""


@dataclass(frozen=True, slots=True)
class Names:
    """What messages call the three files."""

    ca_crt: str = "ca.crt"
    issuer_crt: str = "issuer.crt"
    issuer_key: str = "issuer.key"


@dataclass(frozen=True, slots=True)
class CaBundle:
    """Trust anchors, the issuer's chain (the issuer first, each signed by the next), its key."""

    anchors: tuple[x509.Certificate, ...]
    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = field(repr=False)

    @property
    def issuer(self) -> x509.Certificate:
        """The certificate whose key signs workloads."""
        return self.chain[0]

    @property
    def intermediates(self) -> tuple[x509.Certificate, ...]:
        """What workloads show after their own certificate: the chain without a root."""
        return tuple(one for one in self.chain if not is_issued_by(one, one))

    @property
    def nearest_root(self) -> x509.Certificate:
        """The anchor the issuer is signed by, or the first of its chain that is: the latest one."""
        for certificate in self.chain:
            above = [anchor for anchor in self.anchors if is_issued_by(certificate, anchor)]
            if above:
                return max(above, key=lambda anchor: anchor.not_valid_after_utc)
        raise BundleError("the issuer's chain leads to none of the trust anchors")

    @property
    def anchors_pem(self) -> bytes:
        """``ca.crt``."""
        return write_certificates(self.anchors)

    @property
    def chain_pem(self) -> bytes:
        """``issuer.crt``."""
        return write_certificates(self.chain)

    @property
    def key_pem(self) -> bytes:
        """``issuer.key``."""
        return write_private_key(self.key)


@dataclass(frozen=True, slots=True)
class Life:
    """When new certificates begin and end."""

    not_before: datetime
    not_after: datetime

    @classmethod
    def of(
        cls,
        now: datetime,
        validity: timedelta = DEFAULT_VALIDITY,
        clock_skew: timedelta = DEFAULT_CLOCK_SKEW,
    ) -> Life:
        """Valid ``validity`` from now, and already for clocks that are ``clock_skew`` late."""
        return cls(now - clock_skew, now + validity)

    def within(self, signer: x509.Certificate) -> Life:
        """The same, but ending with the signer's certificate at the latest."""
        return Life(self.not_before, min(self.not_after, signer.not_valid_after_utc))


# --- making -------------------------------------------------------------------------------------


def new_bundle(trust_domain: str, namespace: str, life: Life) -> CaBundle:
    """A root of Ed25519, and under it the issuer of a control plane's sentry."""
    root_key, key = new_private_key("ed25519"), new_private_key("ed25519")
    root_name = _organization(trust_domain)
    root = ca_certificate(root_name, root_key.public_key(), Signer(root_name, root_key), life)
    issuer_name = _organization(f"spiffe://{trust_domain}/ns/{namespace}/dapr-sentry")
    issuer = issuer_certificate(issuer_name, key, Signer.of(root, root_key), life)
    return CaBundle((root,), (issuer,), key)


def new_serial() -> int:
    """A random serial number of 128 bits."""
    return secrets.randbelow((1 << 128) - 1) + 1


def authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier | None:
    """What certificates say of the key that signed them, when the issuer's key has an id."""
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier.value)


def key_usage(*, cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    """Digital signatures, and what a CA may do besides."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs: name, key and the key's id as certificates show it."""

    name: x509.Name
    key: PrivateKey = field(repr=False)
    key_id: x509.AuthorityKeyIdentifier | None = None

    @classmethod
    def of(cls, certificate: x509.Certificate, key: PrivateKey) -> Signer:
        return cls(certificate.subject, key, authority_key(certificate))


def _organization(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])


def issuer_certificate(
    name: x509.Name, key: PrivateKey, signer: Signer, life: Life
) -> x509.Certificate:
    """The certificate of a key that signs workloads."""
    return ca_certificate(name, key.public_key(), signer, life, crl_sign=True)


def ca_certificate(
    name: x509.Name,
    public_key: PublicKey,
    signer: Signer,
    life: Life,
    *,
    crl_sign: bool = False,
) -> x509.Certificate:
    """A certificate that may sign others, however long the chain below it."""
    builder = (
        x509.CertificateBuilder()
        .serial_number(new_serial())
        .subject_name(name)
        .issuer_name(signer.name)
        .public_key(public_key)
        .not_valid_before(life.not_before)
        .not_valid_after(life.not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(key_usage(cert_sign=True, crl_sign=crl_sign), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )
    if signer.key_id is not None:
        builder = builder.add_extension(signer.key_id, critical=False)
    return builder.sign(signer.key, signing_hash(signer.key))


# --- reading ------------------------------------------------------------------------------------


def load_bundle(
    *,
    ca_crt: bytes,
    issuer_crt: bytes,
    issuer_key: bytes,
    now: datetime | None,
    names: Names | None = None,
) -> CaBundle:
    """The bundle in three files, with everything checked. Raises ``BundleError``.

    Without ``now`` it may have ended.
    """
    names = names or Names()
    anchors = _read_anchors(ca_crt, names.ca_crt)
    chain = _read_chain(issuer_crt, names.issuer_crt)
    try:
        key = read_private_key(issuer_key)
    except CertificateError as error:
        raise BundleError(
            f"{names.issuer_key}: {error}: put the issuer's key there as an unencrypted PKCS#8 "
            "block (openssl pkcs8 -topk8 -nocrypt)"
        ) from error
    if key.public_key() != chain[0].public_key():
        raise BundleError(
            f"{names.issuer_key}: the key is not the one of the issuer certificate "
            f"{shown(chain[0])} in {names.issuer_crt}: {_NEW_FILES}"
        )
    bundle = CaBundle(anchors, chain, key)
    try:
        if now is not None:
            require_valid(bundle, now)
    except CertificateError as error:
        raise BundleError(
            f"{names.issuer_crt}: the chain does not lead to a trust anchor of {names.ca_crt} that "
            f"is valid now: {error}: {_NEW_FILES}"
        ) from error
    return bundle


def require_valid(bundle: CaBundle, now: datetime) -> None:
    """Raise ``CertificateError`` unless the issuer leads to an anchor over what is valid now.

    The issuer may be a root itself.
    """
    if bundle.issuer in bundle.anchors:
        current_time_ok(bundle.issuer, now)
    else:
        verify_chain(bundle.chain, bundle.anchors, now)


def _read_anchors(pem: bytes, name: str) -> tuple[x509.Certificate, ...]:
    anchors = _read(pem, name)
    for anchor in anchors:
        if not is_issued_by(anchor, anchor):
            raise BundleError(
                f"{name}: certificate {shown(anchor)} is not self-signed, so it is no trust "
                "anchor: only roots belong there, intermediates go to issuer.crt"
            )
        if not is_ca(anchor):
            raise BundleError(
                f"{name}: certificate {shown(anchor)} may not sign others: a trust anchor has "
                "basic constraints CA:TRUE and, if it names key usages, certSign"
            )
    return anchors


def _read_chain(pem: bytes, name: str) -> tuple[x509.Certificate, ...]:
    chain = _read(pem, name)
    if len(chain) > 1 and is_issued_by(chain[-1], chain[-1]):
        chain = chain[:-1]
    for certificate in chain:
        if not is_ca(certificate):
            raise BundleError(
                f"{name}: certificate {shown(certificate)} may not sign others: it needs basic "
                "constraints CA:TRUE and, if it names key usages, certSign"
            )
    for below, above in pairwise(chain):
        if not is_issued_by(below, above):
            raise BundleError(
                f"{name}: certificate {shown(below)} is not signed by {shown(above)}, which comes "
                "next: put the issuer first and after each certificate the one that signed it"
            )
    return chain


def _read(pem: bytes, name: str) -> tuple[x509.Certificate, ...]:
    try:
        certificates = read_certificates(pem)
        for certificate in certificates:
            is_ca(certificate)  # reads its extensions
            certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BundleError(f"{name}: {error}: expected CERTIFICATE blocks in PEM form") from error
    return certificates
