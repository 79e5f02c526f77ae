"""This sidecar's identity: asked from sentry, shown to peers, and what peers must show."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from dapr_common.observe.metrics import Registry
from dapr_common.security.errors import SecuritySettingsError
from dapr_common.security.proof import proof_of
from dapr_common.security.sentry_client import IdentityRequest
from dapr_common.security.source import IdentitySource
from dapr_common.security.spiffe import SpiffeError, SpiffeId
from dapr_common.security.tls import TlsContexts, peer_id
from dapr_common.security.x509 import CertificateError, read_certificates
from dapr_sidecar.options import Options
from dapr_sidecar.telemetry.security import SecurityMetrics

_SENTRY = "dapr-sentry"


class SidecarSecurity:
    """Identity and TLS of one sidecar. Raises ``SecuritySettingsError``."""

    def __init__(
        self, options: Options, environment: Mapping[str, str], registry: Registry
    ) -> None:
        self.contexts = TlsContexts()
        anchors = options.trust_anchors.encode()
        if not anchors.strip():
            raise SecuritySettingsError(
                "trust anchors are required: set DAPR_TRUST_ANCHORS to the text of sentry's ca.crt"
            )
        try:
            trusted = read_certificates(anchors)
        except CertificateError as error:
            raise SecuritySettingsError(f"DAPR_TRUST_ANCHORS cannot be used: {error}") from error
        self.source = IdentitySource(
            _request(options, environment), trusted, self.contexts, SecurityMetrics(registry)
        )

    def client_context(self) -> ssl.SSLContext:
        """TLS towards peers; its handshakes use the newest certificate."""
        return self.contexts.client

    def verify(self, peer: ssl.SSLObject, namespace: str, app_id: str) -> None:
        """Raise ``CertificateError`` unless the peer is this app; its trust domain is free."""
        found, expected = peer_id(peer), f"/ns/{namespace}/{app_id}"
        if found.path != expected:
            raise CertificateError(f'unexpected ID "{found}", expected the path "{expected}"')

    def identify(self, peer: ssl.SSLObject) -> str:
        """The SPIFFE id of who connects. Raises ``CertificateError``."""
        return str(peer_id(peer))


def _request(options: Options, environment: Mapping[str, str]) -> IdentityRequest:
    if not options.sentry_address:
        raise SecuritySettingsError(
            "mutual TLS needs a certificate authority: give its host:port with --sentry-address"
        )
    domain, namespace = options.control_plane_trust_domain, options.control_plane_namespace
    try:
        sentry = SpiffeId.make(domain, namespace, _SENTRY)
    except SpiffeError as error:
        raise SecuritySettingsError(
            f"--control-plane-trust-domain and --control-plane-namespace cannot be used: {error}"
        ) from error
    proof = proof_of(environment, in_cluster=options.mode == "kubernetes")
    return IdentityRequest(
        app_id=options.sentry_local_identity or options.app_id,
        namespace=options.namespace or "default",
        sentry_address=options.sentry_address,
        sentry_id=sentry,
        validator=proof.validator,
        token_file=proof.token_file,
        audiences=options.jwt_audiences,
    )
