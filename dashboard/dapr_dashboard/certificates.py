"""When certificates end. Keys are never read."""

from __future__ import annotations

from dapr_common.security.x509 import CertificateError, read_certificates
from dapr_dashboard.model import CertificateFact


def ends_of(name: str, source: str, pem: bytes) -> list[CertificateFact]:
    """Each certificate of a PEM text; none when there is none that can be read."""
    try:
        found = read_certificates(pem)
    except CertificateError:
        return []
    return [
        CertificateFact(
            name if len(found) == 1 else f"{name} {number}",
            source,
            certificate.not_valid_after_utc,
        )
        for number, certificate in enumerate(found, start=1)
    ]
