"""A certificate authority for tests of TLS: roots, issuers, workloads, right and wrong ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID

from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.svid import Svid
from dapr_common.security.x509 import KeyKind, PrivateKey, new_private_key, signing_hash

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """One CA certificate with its key; ``issuer`` is what signed it, ``None`` for a root."""

    certificate: x509.Certificate
    key: PrivateKey
    issuer: Authority | None = None

    @classmethod
    def root(
        cls, name: str = "root", *, kind: KeyKind = "ecdsa", life: timedelta = _DAY
    ) -> Authority:
        key = new_private_key(kind)
        return cls(_certificate(key.public_key(), name, key, name, life=life, ca=True), key)

    def intermediate(
        self, name: str = "issuer", *, kind: KeyKind = "ecdsa", life: timedelta = _DAY
    ) -> Authority:
        key = new_private_key(kind)
        return Authority(self.sign(key, name, life=life, ca=True), key, self)

    def sign(
        self,
        key: PrivateKey,
        name: str = "",
        *,
        uris: tuple[str, ...] = (),
        life: timedelta = _DAY,
        ca: bool = False,
    ) -> x509.Certificate:
        return self.certify(key.public_key(), name, uris=uris, life=life, ca=ca)

    def certify(
        self,
        key: CertificatePublicKeyTypes,
        name: str = "",
        *,
        uris: tuple[str, ...] = (),
        life: timedelta = _DAY,
        ca: bool = False,
    ) -> x509.Certificate:
        subject = self.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        issuer = str(subject[0].value)
        return _certificate(key, name, self.key, issuer, uris=uris, life=life, ca=ca)

    def chain(self) -> tuple[x509.Certificate, ...]:
        """This certificate and those above, without the root."""
        return () if self.issuer is None else (self.certificate, *self.issuer.chain())

    def svid(
        self,
        uri: str = "spiffe://public/ns/default/app",
        *,
        kind: KeyKind = "ecdsa",
        life: timedelta = _DAY,
        anchors: tuple[x509.Certificate, ...] = (),
    ) -> Svid:
        key = new_private_key(kind)
        leaf = self.sign(key, uris=(uri,), life=life)
        return Svid(SpiffeId.parse(uri), (leaf, *self.chain()), key, anchors or (self.top(),))

    def top(self) -> x509.Certificate:
        return self.certificate if self.issuer is None else self.issuer.top()


def _certificate(
    key: CertificatePublicKeyTypes,
    name: str,
    signer: PrivateKey,
    issuer: str,
    *,
    uris: tuple[str, ...] = (),
    life: timedelta,
    ca: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + life)
    )
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(one) for one in uris])
        builder = builder.add_extension(names, critical=True)
    return builder.sign(signer, signing_hash(signer))


def _name(organisation: str) -> x509.Name:
    if not organisation:
        return x509.Name([])
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)])
