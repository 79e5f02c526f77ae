"""A workload's identity as it is held in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.x509 import PrivateKey


@dataclass(frozen=True, slots=True)
class Svid:
    """An X.509 SVID with its key, what its peers are checked against, and JWTs when asked for.

    ``chain`` begins with the workload's certificate; self-signed ones are left out.
    """

    id: SpiffeId
    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = field(repr=False)
    anchors: tuple[x509.Certificate, ...]
    jwt: str | None = field(default=None, repr=False)
    audience_jwts: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def not_before(self) -> datetime:
        """When the certificate begins to be valid, UTC."""
        return self.chain[0].not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        """When the certificate ends, UTC."""
        return self.chain[0].not_valid_after_utc
