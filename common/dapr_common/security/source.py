"""A workload's identity: asked for, installed, renewed half-way through its life."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from cryptography import x509

from dapr_common.grpc.backoff import Backoff
from dapr_common.moments import rfc3339
from dapr_common.observe.logs import get_logger
from dapr_common.security.errors import IdentityError, UnreachableError
from dapr_common.security.renewal import renew_at
from dapr_common.security.sentry_client import IdentityRequest, fetch_svid
from dapr_common.security.svid import Svid
from dapr_common.security.tls import TlsContexts
from dapr_common.security.tokens import jwt_expiry
from dapr_common.security.x509 import CertificateError, verify_chain

_LOG = get_logger("dapr.runtime.security")
_RETRY_SECONDS = 10.0
_LEAST_PAUSE = 1.0
_LONGEST_NAP = 60.0  # a machine that was asleep notices within a minute


BeforeUse = Callable[[Svid], Awaitable[None]]


class IdentityEvents(Protocol):
    """Told what became of each attempt; ``reason`` is empty when it went well."""

    def initialised(self, reason: str = "") -> None: ...

    def rotated(self, reason: str = "") -> None: ...


class IdentitySource:
    """Keeps ``contexts`` supplied: ``fetch_initial`` once, then ``run`` until cancelled.

    The trust anchors that sentry sends with a certificate replace the present ones: who sent them
    was checked against those. So a new root reaches a workload while it runs.

    ``before_use`` is awaited with each further certificate before it is used: for those who have
    to be told whom they meet. It must end soon, and must not raise.
    """

    def __init__(
        self,
        request: IdentityRequest,
        anchors: tuple[x509.Certificate, ...],
        contexts: TlsContexts,
        events: IdentityEvents,
        changed: Callable[[Svid], None] | None = None,
        before_use: BeforeUse | None = None,
    ) -> None:
        self._request = request
        self._anchors = anchors
        self._contexts = contexts
        self._events = events
        self._changed = changed
        self._before_use = before_use
        self._svid: Svid | None = None
        self._due = datetime.now(UTC)
        self._hurry = asyncio.Event()

    @property
    def svid(self) -> Svid:
        """The identity in use; there is one after ``fetch_initial``."""
        assert self._svid is not None, "fetch_initial comes first"
        return self._svid

    def trust(self, anchors: tuple[x509.Certificate, ...]) -> None:
        """Check sentry and peers against these anchors from now on.

        A certificate that is of none of them is renewed at once: peers go by the same anchors.
        """
        self._anchors = anchors
        self._contexts.trust(anchors)
        if self._svid is None:
            return
        self._svid = dataclasses.replace(self._svid, anchors=anchors)
        self._contexts.install(self._svid)
        if not _is_covered(self._svid):
            _LOG.info("The certificate is of none of the new trust anchors and is renewed now")
            self.renew()

    def renew(self) -> None:
        """Let ``run`` renew the certificate now."""
        self._due = datetime.now(UTC)
        self._hurry.set()

    async def fetch_initial(self) -> None:
        """Get the first identity, waiting for a sentry that is not there yet.

        Raises ``IdentityError`` when sentry refuses, or when another one answers.
        """
        self._contexts.trust(self._anchors)
        _LOG.info("Fetching initial identity from sentry at %s", self._request.sentry_address)
        backoff = Backoff()
        while True:
            try:
                await self._fetch()
            except UnreachableError as error:
                pause = backoff.next()
                _LOG.warning(
                    "sentry at %s cannot be reached, trying again in %.1f s: %s",
                    self._request.sentry_address,
                    pause,
                    error,
                )
                await asyncio.sleep(pause)
            except IdentityError as error:
                self._events.initialised(error.reason)
                raise
            else:
                self._events.initialised()
                return

    async def run(self) -> None:
        """Renew for ever. What goes wrong is reported, and tried again ten seconds later."""
        while True:
            await self._until_due()
            try:
                await self._fetch()
            except IdentityError as error:
                self._events.rotated(error.reason)
                self._report(error)
                await asyncio.sleep(self._pause())
            else:
                self._events.rotated()

    async def _until_due(self) -> None:
        while (left := (self._due - datetime.now(UTC)).total_seconds()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, _LONGEST_NAP)):
                    await self._hurry.wait()
            self._hurry.clear()

    async def _fetch(self) -> None:
        anchors = self._anchors
        svid = await fetch_svid(self._request, self._contexts.anonymous_client, anchors)
        if self._svid is not None and self._before_use is not None:
            await self._before_use(svid)
        if self._anchors is not anchors:  # others were put in place meanwhile: they count
            svid = dataclasses.replace(svid, anchors=self._anchors)
        try:
            self._contexts.install(svid)
        except ssl.SSLError as error:
            raise IdentityError(f"the certificate cannot be used: {error}", "sign") from error
        if svid.anchors != self._anchors:
            _LOG.info("The trust anchors have changed; there are %d now", len(svid.anchors))
            self._anchors = svid.anchors
        self._svid = svid
        self._due = _due(svid, datetime.now(UTC), random.random())  # noqa: S311 - spreads load
        if not _is_covered(svid):
            self.renew()
        if self._changed is not None:
            self._changed(svid)
        _LOG.info("Identity %s is valid until %s", svid.id, rfc3339(svid.not_after))

    def _report(self, error: IdentityError) -> None:
        _LOG.error(
            "the identity could not be renewed, the present one is in use until %s: %s",
            rfc3339(self.svid.not_after),
            error,
        )

    def _pause(self) -> float:
        """Seconds to the next attempt; fewer when the certificate does not last that long."""
        left = (self.svid.not_after - datetime.now(UTC)).total_seconds()
        return max(min(_RETRY_SECONDS, left / 4), _LEAST_PAUSE)


def _due(svid: Svid, now: datetime, jitter: float) -> datetime:
    due = renew_at(svid.not_before, svid.not_after, jitter)
    if due <= now:
        # The beginning is back-dated for clocks that differ. A life shorter than that would be
        # renewed without a pause; half of what is left is waited for instead.
        due = renew_at(now, svid.not_after, jitter)
    if svid.jwt is not None:
        # By a clock that differs it may have ended before it came.
        half = (jwt_expiry(svid.jwt) - now) / 2
        due = min(due, now + max(half, timedelta(seconds=_LEAST_PAUSE)))
    return due


def _is_covered(svid: Svid) -> bool:
    try:
        verify_chain(svid.chain, svid.anchors, datetime.now(UTC))
    except CertificateError:
        return False
    return True
