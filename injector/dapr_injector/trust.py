"""The injector's identity, and whom the API server has to trust to reach it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from dapr_common.grpc.backoff import Backoff
from dapr_common.observe.logs import get_logger
from dapr_common.security.control_plane import ControlPlaneIdentity
from dapr_common.security.errors import IdentityError
from dapr_common.security.sentry_client import IdentityRequest
from dapr_common.security.tls import TlsContexts
from dapr_common.security.x509 import CertificateError, verify_chain, write_certificates

_LOG = get_logger("dapr.injector")
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0

Anchors = tuple[x509.Certificate, ...]


class InjectorTrust:
    """``start`` once, then ``run`` until cancelled. ``changed`` is called whenever ``bundle`` is.

    ``bundle`` is for the webhook configuration: the trust anchors, and those of before as long as
    the certificate in use is of an authority that only they know.
    """

    def __init__(
        self, request: IdentityRequest, anchors_file: Path, changed: Callable[[], None]
    ) -> None:
        self.bundle: Anchors = ()
        self.anchors_pem = ""
        self._identity = ControlPlaneIdentity(request, anchors_file, self, self._anchors_changed)
        self._changed = changed
        self._started = False

    @property
    def contexts(self) -> TlsContexts:
        """TLS with the newest certificate."""
        return self._identity.contexts

    async def start(self) -> None:
        """Wait for the trust anchors and the first certificate, however long it takes.

        During a first install sentry makes its authority anew, and does not know each pod at once.
        Raises ``SecuritySettingsError`` when the file of the anchors cannot be used.
        """
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                await self._identity.start()
            except IdentityError as error:
                pause = backoff.next()
                _LOG.error("There is no identity yet, trying again in %.1f s: %s", pause, error)
                await asyncio.sleep(pause)
            else:
                break
        self._started = True
        self._renew()

    async def run(self) -> None:
        """Keep everything current until cancelled."""
        await self._identity.run()

    # --- what the identity tells ------------------------------------------------------------

    def initialised(self, reason: str = "") -> None:
        """The first certificate is there, or was refused."""

    def rotated(self, reason: str = "") -> None:
        """The certificate was renewed, or that failed."""
        if not reason:
            self._renew()

    def _anchors_changed(self, _: bytes) -> None:
        if self._started:
            self._renew()

    def _renew(self) -> None:
        svid = self._identity.source.svid
        self.anchors_pem = write_certificates(svid.anchors).decode("ascii")
        bundle = trusted_by_callers(svid.anchors, svid.chain, self.bundle, datetime.now(UTC))
        if bundle != self.bundle:
            self.bundle = bundle
            self._changed()


def trusted_by_callers(
    anchors: Anchors, chain: Sequence[x509.Certificate], before: Anchors, at: datetime
) -> Anchors:
    """Whom callers have to trust so that a chain is accepted, now and once it is renewed."""
    try:
        verify_chain(chain, anchors, at)
    except CertificateError:
        return (*anchors, *(one for one in before if one not in anchors))
    return anchors
