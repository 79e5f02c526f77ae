"""This sidecar's identity: asked from sentry, shown to peers, and what peers must show."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from dapr_common.security.errors import SecuritySettingsError
from dapr_common.security.proof import proof_of
from dapr_common.security.sentry_client import IdentityRequest
from dapr_common.security.source import IdentityEvents, IdentitySource
from dapr_common.security.spiffe import SpiffeError, SpiffeId
from dapr_common.security.tls import TlsContexts, peer_id
from dapr_common.security.x509 import CertificateError, read_certificates
from dapr_sidecar.options import Options

_SENTRY, _OPERATOR = "dapr-sentry", "dapr-operator"
_PLACEMENT, _SCHEDULER = "dapr-placement", "dapr-scheduler"


class SidecarSecurity:
    """Identity and TLS of one sidecar. Raises ``SecuritySettingsError``."""

    def __init__(self, options: Options, environment: Mapping[str, str]) -> None:
        self.contexts = TlsContexts()
        self.events = IdentityCounts()
        anchors = options.trust_anchors.encode()
        if not anchors.strip():
            raise SecuritySettingsError(
                "trust anchors are required: set DAPR_TRUST_ANCHORS to the text of sentry's ca.crt"
            )
        try:
            trusted = read_certificates(anchors)
        except CertificateError as error:
            raise SecuritySettingsError(f"DAPR_TRUST_ANCHORS cannot be used: {error}") from error
        self._operator = control_plane_id(options, _OPERATOR)
        self._placement = control_plane_id(options, _PLACEMENT)
        self._scheduler = control_plane_id(options, _SCHEDULER)
        self.source = IdentitySource(
            _request(options, environment), trusted, self.contexts, self.events
        )

    def client_context(self) -> ssl.SSLContext:
        """TLS towards peers; its handshakes use the newest certificate."""
        return self.contexts.client

    def verify(self, peer: ssl.SSLObject, namespace: str, app_id: str) -> None:
        """Raise ``CertificateError`` unless the peer is this app; its trust domain is free."""
        found, expected = peer_id(peer), f"/ns/{namespace}/{app_id}"
        if found.path != expected:
            raise CertificateError(f'unexpected ID "{found}", expected the path "{expected}"')

    def verify_operator(self, peer: ssl.SSLObject) -> None:
        """Raise ``CertificateError`` unless the peer is this control plane's operator."""
        _verify(peer, self._operator)

    def verify_placement(self, peer: ssl.SSLObject) -> None:
        """The same for its placement."""
        _verify(peer, self._placement)

    def verify_scheduler(self, peer: ssl.SSLObject) -> None:
        """The same for its scheduler."""
        _verify(peer, self._scheduler)

    def identify(self, peer: ssl.SSLObject) -> SpiffeId:
        """Who connects. Raises ``CertificateError``."""
        return peer_id(peer)


class IdentityCounts:
    """Passes on what became of the identity; it is there before anybody counts."""

    def __init__(self) -> None:
        self._target: IdentityEvents | None = None
        self._initialised: list[str] = []

    def attach(self, target: IdentityEvents) -> None:
        """Count here from now on, beginning with how the identity was got."""
        self._target = target
        for reason in self._initialised:
            target.initialised(reason)

    def initialised(self, reason: str = "") -> None:
        """The first identity is there, or not."""
        self._initialised.append(reason)
        if self._target is not None:
            self._target.initialised(reason)

    def rotated(self, reason: str = "") -> None:
        """The identity was renewed, or not."""
        if self._target is not None:
            self._target.rotated(reason)


def _request(options: Options, environment: Mapping[str, str]) -> IdentityRequest:
    if not options.sentry_address:
        raise SecuritySettingsError(
            "mutual TLS needs a certificate authority: give its host:port with --sentry-address"
        )
    sentry = control_plane_id(options, _SENTRY)
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


def _verify(peer: ssl.SSLObject, expected: SpiffeId) -> None:
    found = peer_id(peer)
    if found != expected:
        raise CertificateError(
            f'unexpected SPIFFE ID "{found}", expected "{expected}": check the control '
            "plane's trust domain and namespace"
        )


def control_plane_id(options: Options, name: str) -> SpiffeId:
    """Who a program of the control plane must be. Raises ``SecuritySettingsError``."""
    domain, namespace = options.control_plane_trust_domain, options.control_plane_namespace
    try:
        return SpiffeId.make(domain, namespace, name)
    except SpiffeError as error:
        raise SecuritySettingsError(
            f"--control-plane-trust-domain and --control-plane-namespace cannot be used: {error}"
        ) from error
