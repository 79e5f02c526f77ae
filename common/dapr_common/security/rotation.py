"""Another root or issuer for a certificate authority, while everybody goes on trusting everybody.

No I/O; time is passed in.
"""

from __future__ import annotations

from datetime import datetime
from itertools import takewhile

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from dapr_common.security.authority import (
    BundleError,
    CaBundle,
    Life,
    Signer,
    ca_certificate,
    issuer_certificate,
    require_valid,
)
from dapr_common.security.x509 import (
    CertificateError,
    PrivateKey,
    is_issued_by,
    shown,
)

_RSA_EXPONENT, _LEAST_RSA_BITS = 65537, 2048


def rotated(
    bundle: CaBundle, now: datetime, life: Life, root_key: PrivateKey | None = None
) -> CaBundle:
    """A new root and a new issuer, which those who know only the old anchors trust, too.

    They find the way over a cross certificate: the new root's name and key, signed by the issuer
    of before. The old anchors stay, for certificates that are out. One step, no connection fails,
    and the key of the old root is not needed. When the chain of before has ended already, there
    is no cross certificate: nobody would trust it.
    Raises ``BundleError`` when the issuer of before may not sign CAs.
    """
    root_key, key = root_key or _new_key_like(bundle.key), _new_key_like(bundle.key)
    name = _next_root_name(bundle, root_key)
    root = ca_certificate(name, root_key.public_key(), Signer(name, root_key), life)
    issuer = issuer_certificate(bundle.issuer.subject, key, Signer.of(root, root_key), life)
    old = without_expired_anchors(bundle, now)
    return CaBundle((root, *old.anchors), (issuer, *_crossed(root, root_key, old, now, life)), key)


def renewed_issuer(bundle: CaBundle, life: Life, root_key: PrivateKey | None = None) -> CaBundle:
    """A new issuer under the anchors there are: signed by the root, or by the issuer of before.

    Its life ends with whoever signed it. Raises ``BundleError`` when the key is of no anchor, or
    when the issuer of before may not sign CAs.
    """
    key, name = _new_key_like(bundle.key), bundle.issuer.subject
    if root_key is None:
        _require_room(bundle, 1)
        signer = Signer.of(bundle.issuer, bundle.key)
        issuer = issuer_certificate(name, key, signer, life.within(bundle.issuer))
        return CaBundle(bundle.anchors, (issuer, *bundle.intermediates), key)
    root = _anchor_of(bundle, root_key)
    issuer = issuer_certificate(name, key, Signer.of(root, root_key), life.within(root))
    # After a rotation the certificate above the issuer has the root's name and key: it stays.
    above = bundle.chain[1:]
    kept = above if above and is_issued_by(issuer, above[0]) else ()
    return CaBundle(bundle.anchors, (issuer, *kept), key)


def has_root_of(bundle: CaBundle, key: PrivateKey) -> bool:
    """Whether the key is the one of a trust anchor."""
    return any(anchor.public_key() == key.public_key() for anchor in bundle.anchors)


def without_expired_anchors(bundle: CaBundle, now: datetime) -> CaBundle:
    """Without anchors that have ended, and without what led only to them.

    The bundle stays as it is when nothing would be left.
    """
    anchors = tuple(anchor for anchor in bundle.anchors if anchor.not_valid_after_utc >= now)
    chain = tuple(takewhile(lambda one: one.not_valid_after_utc >= now, bundle.chain))
    while chain and not any(is_issued_by(chain[-1], anchor) for anchor in anchors):
        chain = chain[:-1]
    return CaBundle(anchors, chain, bundle.key) if chain else bundle


def _new_key_like(key: PrivateKey) -> PrivateKey:
    """Of the same kind: whoever chose it has verifiers that take it."""
    if isinstance(key, rsa.RSAPrivateKey):
        return rsa.generate_private_key(_RSA_EXPONENT, max(key.key_size, _LEAST_RSA_BITS))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return ec.generate_private_key(key.curve)
    return ed25519.Ed25519PrivateKey.generate()


def _crossed(
    root: x509.Certificate, root_key: PrivateKey, old: CaBundle, now: datetime, life: Life
) -> tuple[x509.Certificate, ...]:
    """The new root as the old issuer vouches for it, and the old issuer's chain."""
    try:
        require_valid(old, now)
    except CertificateError:
        return ()
    _require_room(old, 2)
    signer = Signer.of(old.issuer, old.key)
    cross = ca_certificate(root.subject, root_key.public_key(), signer, life.within(old.issuer))
    return (cross, *old.intermediates)


def _require_room(bundle: CaBundle, more: int) -> None:
    """Raise ``BundleError`` unless ``more`` CAs may follow below the issuer."""
    for below, certificate in enumerate((*bundle.intermediates, bundle.nearest_root)):
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        if constraints.path_length is not None and constraints.path_length < below + more:
            raise BundleError(
                f"certificate {shown(certificate)} allows only {constraints.path_length} CAs "
                f"below it (path length), and there would be {below + more}: use the key of the "
                "root to renew the issuer, or bring a new root and issuer of your own"
            )


def _anchor_of(bundle: CaBundle, root_key: PrivateKey) -> x509.Certificate:
    for anchor in bundle.anchors:
        if anchor.public_key() == root_key.public_key():
            return anchor
    raise BundleError("the private key is not the one of any trust anchor in ca.crt")


def _next_root_name(bundle: CaBundle, root_key: PrivateKey) -> x509.Name:
    """Like the root of before, but its own: some verifiers look for issuers by name alone."""
    kept = [one for one in bundle.nearest_root.subject if one.oid != NameOID.COMMON_NAME]
    key_id = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()).digest
    return x509.Name([*kept, x509.NameAttribute(NameOID.COMMON_NAME, f"root {key_id.hex()[:16]}")])
