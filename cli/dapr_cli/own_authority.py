"""A root and an issuer that somebody brings, joined to the authority of before. No I/O."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509

from dapr_common.security.authority import (
    CaBundle,
    Signer,
    key_usage,
    new_serial,
    require_valid,
)
from dapr_common.security.rotation import without_expired_anchors
from dapr_common.security.x509 import CertificateError, signing_hash


def joined(before: CaBundle, given: CaBundle, now: datetime) -> CaBundle:
    """The given authority, which those who know only the anchors of before trust as well.

    The old anchors stay, for certificates that are out. The issuer of before vouches for the new
    root, as far as it may and is still valid; the key of that root is not needed for it.
    """
    old = without_expired_anchors(before, now)
    kept = tuple(anchor for anchor in old.anchors if anchor not in given.anchors)
    root = given.nearest_root
    if root in old.anchors or not _may_vouch(old, len(given.intermediates) + 1, now):
        return CaBundle((*given.anchors, *kept), given.chain, given.key)
    chain = (*given.chain, _crossed(root, old), *old.intermediates)
    return CaBundle((*given.anchors, *kept), chain, given.key)


def is_trusted_by(before: CaBundle, after: CaBundle, now: datetime) -> bool:
    """Whether those who know only the anchors of before trust what comes of ``after``."""
    try:
        require_valid(CaBundle(before.anchors, after.chain, after.key), now)
    except CertificateError:
        return False
    return True


def _may_vouch(old: CaBundle, more: int, now: datetime) -> bool:
    """Whether the old issuer is valid and ``more`` CAs may follow below it."""
    try:
        require_valid(old, now)
    except CertificateError:
        return False
    for below, certificate in enumerate((*old.intermediates, old.nearest_root)):
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        if constraints.path_length is not None and constraints.path_length < below + more:
            return False
    return True


def _crossed(root: x509.Certificate, old: CaBundle) -> x509.Certificate:
    """The root's name, key and key id, signed by the issuer of before."""
    signer = Signer.of(old.issuer, old.key)
    builder = (
        x509.CertificateBuilder()
        .serial_number(new_serial())
        .subject_name(root.subject)
        .issuer_name(signer.name)
        .public_key(root.public_key())
        .not_valid_before(max(root.not_valid_before_utc, old.issuer.not_valid_before_utc))
        .not_valid_after(min(root.not_valid_after_utc, old.issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(key_usage(cert_sign=True), critical=True)
    )
    try:
        # The root's own: whoever is below names it, and some verifiers compare.
        identifier = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        identifier = x509.SubjectKeyIdentifier.from_public_key(root.public_key())
    builder = builder.add_extension(identifier, critical=False)
    if signer.key_id is not None:
        builder = builder.add_extension(signer.key_id, critical=False)
    return builder.sign(old.key, signing_hash(old.key))
