"""Issuing workload certificates. No I/O; time is passed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from dapr_common.security.authority import (
    CaBundle,
    PublicKey,
    authority_key,
    key_usage,
    new_serial,
)
from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.x509 import (
    CertificateError,
    current_time_ok,
    signing_hash,
    write_certificates,
)

_USAGE = key_usage()
_EXTENDED_USAGE = x509.ExtendedKeyUsage(
    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
)
_NO_NAME = x509.Name([])


class IssuerNotValidError(Exception):
    """The issuer, or what is above it, has ended or has not begun: nothing can be signed."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A workload certificate."""

    leaf: x509.Certificate
    chain_pem: bytes
    """The certificate and the issuer's chain, without self-signed certificates."""

    @property
    def not_after(self) -> datetime:
        """When it ends, UTC."""
        return self.leaf.not_valid_after_utc


class CertificateAuthority:
    """Signs for a control plane in ``namespace``; ``cluster_domain`` ends its DNS names."""

    def __init__(
        self,
        bundle: CaBundle,
        *,
        namespace: str,
        cluster_domain: str,
        ttl: timedelta,
        clock_skew: timedelta,
    ) -> None:
        self.bundle = bundle
        self.anchors_pem = bundle.anchors_pem
        self.root = bundle.nearest_root
        """The trust anchor above the issuer."""
        self.ends = min(bundle.issuer.not_valid_after_utc, self.root.not_valid_after_utc)
        """When nothing can be signed any more, UTC."""
        self._namespace = namespace
        self._cluster_domain = cluster_domain
        self._ttl = ttl
        self._clock_skew = clock_skew
        self._chain_pem = write_certificates(bundle.intermediates)
        self._authority_key = authority_key(bundle.issuer)
        self._hash = signing_hash(bundle.key)

    def issue(self, identity: SpiffeId, key: PublicKey, now: datetime) -> Issued:
        """A certificate of this identity for this key. Raises ``IssuerNotValidError``.

        It ends with the issuer at the latest: nobody would trust it any longer.
        """
        self._require_valid(now)
        builder = (
            x509.CertificateBuilder()
            .serial_number(new_serial())
            .subject_name(_NO_NAME)
            .issuer_name(self.bundle.issuer.subject)
            .public_key(key)
            .not_valid_before(now - self._clock_skew)
            .not_valid_after(min(now + self._ttl, self.ends))
            .add_extension(_USAGE, critical=True)
            .add_extension(_EXTENDED_USAGE, critical=False)
            .add_extension(self._names(identity), critical=True)  # there is no subject
        )
        if self._authority_key is not None:
            builder = builder.add_extension(self._authority_key, critical=False)
        leaf = builder.sign(self.bundle.key, self._hash)
        return Issued(leaf, leaf.public_bytes(Encoding.PEM) + self._chain_pem)

    def _require_valid(self, now: datetime) -> None:
        try:
            current_time_ok(self.bundle.issuer, now)
            current_time_ok(self.root, now)
        except CertificateError as error:
            raise IssuerNotValidError(str(error)) from error

    def _names(self, identity: SpiffeId) -> x509.SubjectAlternativeName:
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(str(identity))]
        if identity.namespace == self._namespace:
            dns = dns_names(identity.app_id, self._namespace, self._cluster_domain)
            names += map(x509.DNSName, dns)
        return x509.SubjectAlternativeName(names)


def dns_names(app_id: str, namespace: str, cluster_domain: str) -> list[str]:
    """The names the Kubernetes API server or etcd peers call a control plane service by."""
    if app_id == "dapr-injector":
        return [f"dapr-sidecar-injector.{namespace}.svc"]
    if app_id == "dapr-operator":
        return [f"dapr-webhook.{namespace}.svc"]
    if app_id == "dapr-scheduler":
        name = "dapr-scheduler-server"
        return [f"{name}-{n}.{name}.{namespace}.svc.{cluster_domain}" for n in range(3)]
    return []
