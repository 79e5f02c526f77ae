"""X.509 as Dapr's certificates use it: PEM in and out, keys, requests, chains, the leaf's id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from dapr_common.security.spiffe import SpiffeError, SpiffeId

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
KeyKind = Literal["ed25519", "ecdsa", "rsa"]
_Kind = TypeVar("_Kind")

_RSA_BITS, _RSA_EXPONENT = 2048, 65537
_MAX_CHAIN = 8


class CertificateError(ValueError):
    """A certificate, a key or a chain cannot be used."""


def read_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Every certificate in a PEM text, at least one. Raises ``CertificateError``."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except (ValueError, x509.InvalidVersion) as error:
        raise CertificateError(f"no certificates in PEM form: {error}") from error


def write_certificates(certificates: Iterable[x509.Certificate]) -> bytes:
    """The certificates as PEM, one after the other."""
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def read_private_key(pem: bytes) -> PrivateKey:
    """An unencrypted PKCS#8, ``EC PRIVATE KEY`` or ``RSA PRIVATE KEY`` block.

    Raises ``CertificateError``; the text never shows the key.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        reason = "it is encrypted" if isinstance(error, TypeError) else "it is malformed"
        raise CertificateError(f"no private key in PEM form can be read: {reason}") from None
    if isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        return key
    raise CertificateError("unsupported private key: use Ed25519, ECDSA or RSA")


def write_private_key(key: PrivateKey) -> bytes:
    """The key as an unencrypted PKCS#8 PEM block."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def new_private_key(kind: KeyKind) -> PrivateKey:
    """A fresh key: Ed25519, ECDSA on P-256, or RSA with 2048 bits."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "ecdsa":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(_RSA_EXPONENT, _RSA_BITS)


def signing_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    """The digest a key signs with, as long as its curve; Ed25519 brings its own."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    if isinstance(key, rsa.RSAPrivateKey) or key.key_size <= 256:
        return hashes.SHA256()
    return hashes.SHA384() if key.key_size <= 384 else hashes.SHA512()


def new_csr(key: PrivateKey) -> bytes:
    """A certificate request in PEM that says nothing but the key."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, signing_hash(key)).public_bytes(serialization.Encoding.PEM)


def spiffe_id(leaf: x509.Certificate) -> SpiffeId:
    """The identity of a workload certificate. Raises ``CertificateError``.

    It must not be a CA's, must not be able to sign certificates, and must have exactly one URI
    name, a SPIFFE id.
    """
    extensions = _extensions(leaf)
    constraints = _extension(extensions, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise CertificateError("a CA certificate is no workload's identity")
    usage = _extension(extensions, x509.KeyUsage)
    if usage is not None and (usage.key_cert_sign or usage.crl_sign):
        raise CertificateError("a certificate that may sign others is no workload's identity")
    names = _extension(extensions, x509.SubjectAlternativeName)
    uris = [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise CertificateError(f"a workload certificate has one URI name, this one has {len(uris)}")
    try:
        return SpiffeId.parse(uris[0])
    except SpiffeError as error:
        raise CertificateError(str(error)) from error


def verify_chain(
    chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], at: datetime
) -> None:
    """Check that the first of ``chain`` leads to an anchor over the others, all valid at ``at``.

    Raises ``CertificateError``. Names of hosts and extended key usages do not matter here.
    """
    current_time_ok(chain[0], at)
    _lead_up(chain[0], chain[1:], anchors, at, _MAX_CHAIN)


def current_time_ok(certificate: x509.Certificate, at: datetime) -> None:
    """Raise ``CertificateError`` unless the certificate is valid at this time."""
    if at < certificate.not_valid_before_utc:
        begins = certificate.not_valid_before_utc.isoformat()
        raise CertificateError(f"certificate {shown(certificate)} is not valid before {begins}")
    if at > certificate.not_valid_after_utc:
        ended = certificate.not_valid_after_utc.isoformat()
        raise CertificateError(f"certificate {shown(certificate)} has expired on {ended}")


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the issuer's name and key made this certificate."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def is_ca(certificate: x509.Certificate) -> bool:
    """Whether the certificate may sign others."""
    extensions = _extensions(certificate)
    constraints = _extension(extensions, x509.BasicConstraints)
    usage = _extension(extensions, x509.KeyUsage)
    return (
        constraints is not None and constraints.ca and (usage is None or bool(usage.key_cert_sign))
    )


def shown(certificate: x509.Certificate) -> str:
    """How messages name a certificate: its subject, else the serial number."""
    subject = certificate.subject.rfc4514_string()
    return f"'{subject}'" if subject else f"with serial number {certificate.serial_number:x}"


def _lead_up(
    certificate: x509.Certificate,
    between: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    at: datetime,
    steps: int,
) -> None:
    failure = CertificateError(
        f"certificate {shown(certificate)} is signed by no trust anchor "
        f"(its issuer is '{certificate.issuer.rfc4514_string()}')"
    )
    for issuer in (*anchors, *(between if steps else ())):
        if issuer == certificate or not is_ca(issuer) or not is_issued_by(certificate, issuer):
            continue
        try:
            current_time_ok(issuer, at)
            if issuer not in anchors:
                rest = [one for one in between if one != issuer]
                _lead_up(issuer, rest, anchors, at, steps - 1)
        except CertificateError as error:
            failure = error  # another path may still hold
            continue
        return
    raise failure


def _extensions(certificate: x509.Certificate) -> x509.Extensions:
    try:
        return certificate.extensions
    except (ValueError, x509.DuplicateExtension) as error:
        raise CertificateError(f"malformed certificate extensions: {error}") from error


def _extension(extensions: x509.Extensions, kind: type[_Kind]) -> _Kind | None:
    for extension in extensions:
        if isinstance(extension.value, kind):
            return extension.value
    return None
