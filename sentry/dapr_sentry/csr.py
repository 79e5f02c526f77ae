"""Certificate signing requests: nothing of them counts but the key they prove to hold."""

from __future__ import annotations

import base64
import binascii
import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from dapr_common.security.authority import PublicKey

# A block begins with a line. Were it looked for within one, a header could hold the begin of the
# next block, and each of thousands be read to the end.
_BLOCK = re.compile(
    rb"^-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?\n(?:[!-9;-~ ]+:[^\n]*\n)*"
    rb"([A-Za-z0-9+/=\s]*)-----END \1-----",
    re.MULTILINE,
)
_LABELS = (b"CERTIFICATE REQUEST", b"CERTIFICATE")
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_RSA_BITS = range(2048, 8192 + 1)
_BROKEN_HASHES = (hashes.MD5, hashes.SHA1)


class CsrError(ValueError):
    """A request cannot be used; the text is for whoever sent it."""


class WeakKeyError(CsrError):
    """The key of a request is too weak, or of a kind that is not signed here."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the key of the certificate signing request is not accepted: {what}")


def public_key(pem: bytes) -> PublicKey:
    """The key of a request whose own signature holds. Raises ``CsrError``."""
    request = _parsed(pem)
    try:
        key = _accepted(request.public_key())
        signed_well = request.is_signature_valid and not _broken_hash(request)
    except (ValueError, UnsupportedAlgorithm) as error:
        if isinstance(error, CsrError):
            raise
        raise CsrError("invalid signature") from error
    if not signed_well:
        raise CsrError("invalid signature")
    return key


def _parsed(pem: bytes) -> x509.CertificateSigningRequest:
    block = _BLOCK.search(pem)
    if block is None or block[1] not in _LABELS:
        raise CsrError("invalid certificate signing request")
    try:
        der = base64.b64decode(b"".join(block[2].split()), validate=True)
    except binascii.Error as error:
        raise CsrError("invalid certificate signing request") from error
    try:
        return x509.load_der_x509_csr(der)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise CsrError(f"failed to parse certificate signing request: {error}") from error


def _accepted(key: object) -> PublicKey:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, _CURVES):
            raise WeakKeyError(f"it is on curve {key.curve.name}, use P-256, P-384 or P-521")
        return key
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size not in _RSA_BITS:
            raise WeakKeyError(f"RSA of {key.key_size} bits, use {_RSA_BITS[0]} to {_RSA_BITS[-1]}")
        return key
    raise WeakKeyError("use Ed25519, ECDSA or RSA")


def _broken_hash(request: x509.CertificateSigningRequest) -> bool:
    return isinstance(request.signature_hash_algorithm, _BROKEN_HASHES)
