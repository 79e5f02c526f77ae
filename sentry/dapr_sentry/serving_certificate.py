"""Sentry's own certificate: signed in process, renewed half-way through its life."""

from __future__ import annotations

import asyncio
import random
import ssl
from datetime import UTC, datetime

from dapr_common.observe.logs import get_logger
from dapr_common.security.renewal import renew_at
from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.svid import Svid
from dapr_common.security.tls import TlsContexts
from dapr_common.security.x509 import new_private_key
from dapr_sentry.ca import CertificateAuthority, IssuerNotValidError
from dapr_sentry.metrics import SentryMetrics

_LOG = get_logger("dapr.sentry.server")
_LONGEST_NAP = 60.0  # a machine that was asleep notices within a minute
_RETRY_SECONDS = 10.0


class ServingCertificateError(Exception):
    """Sentry's own certificate could not be made; the one before stays in use."""


class ServingCertificate:
    """Keeps ``contexts`` supplied with a certificate of the newest authority."""

    def __init__(self, identity: SpiffeId, contexts: TlsContexts, metrics: SentryMetrics) -> None:
        self._identity = identity
        self._contexts = contexts
        self._metrics = metrics
        self._ca: CertificateAuthority | None = None
        self._due = datetime.now(UTC)

    def install(self, ca: CertificateAuthority) -> None:
        """Present a certificate of this authority. Raises ``ServingCertificateError``."""
        now = datetime.now(UTC)
        key = new_private_key("ecdsa")  # some TLS libraries take no Ed25519 from servers
        try:
            issued = ca.issue(self._identity, key.public_key(), now)
            chain = (issued.leaf, *ca.bundle.intermediates)
            self._contexts.install(Svid(self._identity, chain, key, ca.bundle.anchors))
        except (IssuerNotValidError, ssl.SSLError) as error:
            reason = "sign" if isinstance(error, IssuerNotValidError) else "tls"
            self._metrics.server_certificate_failed.at(reason).add()
            raise ServingCertificateError(
                f"sentry's own certificate could not be issued: {error}"
            ) from error
        self._ca = ca
        self._due = renew_at(now, issued.not_after, random.random())  # noqa: S311 - spreads load
        _LOG.info("Sentry's own certificate is valid until %s", issued.not_after.isoformat())

    async def run(self) -> None:
        """Renew for ever; what goes wrong is reported, and tried again soon."""
        while True:
            while (left := (self._due - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110 - no event
                await asyncio.sleep(min(left, _LONGEST_NAP))
            assert self._ca is not None, "install comes first"
            try:
                self.install(self._ca)
            except ServingCertificateError as error:
                _LOG.error("%s; the one before stays in use", error)
                await asyncio.sleep(_RETRY_SECONDS)
