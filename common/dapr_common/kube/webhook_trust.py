"""The identity of a program with webhooks, and whom API servers have to trust to reach it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509

from dapr_common.grpc.backoff import Backoff
from dapr_common.kube.webhook_registration import WebhookRegistration
from dapr_common.observe.logs import get_logger
from dapr_common.security.control_plane import ControlPlaneIdentity
from dapr_common.security.errors import IdentityError
from dapr_common.security.sentry_client import IdentityRequest
from dapr_common.security.source import IdentityEvents
from dapr_common.security.svid import Svid
from dapr_common.security.tls import TlsContexts
from dapr_common.security.x509 import write_certificates

_LOG = get_logger("dapr.kube.webhooks")
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0
_ANNOUNCE_SECONDS = 15.0

Anchors = tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class Callers:
    """Whom callers have to trust. Pure: each step gives the next.

    Anchors that went stay for a while: this replica's certificate may still be of theirs until it
    is renewed, and another replica's for longer. They go with the renewal after that one.
    """

    anchors: Anchors = ()
    older: Anchors = ()
    is_renewed: bool = True
    """A certificate came since the anchors changed."""

    @property
    def bundle(self) -> Anchors:
        """All of them, those to stay first."""
        return (*self.anchors, *self.older)

    def changed(self, anchors: Anchors) -> Callers:
        """These are the trust anchors from now on."""
        if anchors == self.anchors:
            return self
        older = tuple(one for one in self.bundle if one not in anchors)
        return Callers(anchors, older, is_renewed=False)

    def renewed(self, anchors: Anchors) -> Callers:
        """A certificate is in use that these trust anchors came with."""
        after = self.changed(anchors)
        return replace(after, older=()) if after.is_renewed else replace(after, is_renewed=True)


class WebhookTrust:
    """``start`` once, then ``run`` until cancelled.

    A certificate of an authority that callers may not know yet is used only after they were told:
    no handshake fails, whatever changes first.
    """

    def __init__(
        self,
        request: IdentityRequest,
        anchors_file: Path,
        registrations: Sequence[WebhookRegistration],
        events: IdentityEvents | None = None,
    ) -> None:
        self._registrations = registrations
        self._events = events
        self._identity = ControlPlaneIdentity(
            request, anchors_file, self, self._anchors_changed, self._announce
        )
        self._callers = Callers()
        self._published: Anchors = ()
        self._started = False

    @property
    def contexts(self) -> TlsContexts:
        """TLS with the newest certificate."""
        return self._identity.contexts

    @property
    def svid(self) -> Svid:
        """The identity in use; there is one after ``start``."""
        return self._identity.source.svid

    @property
    def anchors_pem(self) -> str:
        """The trust anchors as they are now."""
        return write_certificates(self.svid.anchors).decode("ascii")

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
        self._become(self._callers.renewed(self.svid.anchors))

    async def run(self) -> None:
        """Keep everything current until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._identity.run(), name="identity")
            for one in self._registrations:
                tasks.create_task(one.run(), name="webhook registration")

    # --- what the identity tells ------------------------------------------------------------

    def initialised(self, reason: str = "") -> None:
        """The first certificate is there, or was refused."""
        if self._events is not None:
            self._events.initialised(reason)

    def rotated(self, reason: str = "") -> None:
        """The certificate was renewed, or that failed."""
        if self._events is not None:
            self._events.rotated(reason)
        if not reason:
            self._become(self._callers.renewed(self.svid.anchors))

    def _anchors_changed(self, _: bytes) -> None:
        if self._started:
            self._become(self._callers.changed(self.svid.anchors))

    async def _announce(self, svid: Svid) -> None:
        """Have callers trust what a certificate came with, before it is used."""
        self._become(self._callers.changed(svid.anchors))
        try:
            async with asyncio.timeout(_ANNOUNCE_SECONDS):
                for one in self._registrations:
                    await one.in_effect()
        except TimeoutError:
            _LOG.error("A new certificate is used before the API server is told whom to trust")

    def _become(self, callers: Callers) -> None:
        self._callers = callers
        if callers.bundle != self._published:
            self._published = callers.bundle
            for one in self._registrations:
                one.publish(callers.bundle)
