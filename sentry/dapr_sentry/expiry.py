"""Saying in time that the certificate authority comes to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cryptography import x509

from dapr_common.observe.logs import get_logger
from dapr_sentry.ca import CertificateAuthority

_LOG = get_logger("dapr.sentry.ca")
_PAUSE_SECONDS = 3600.0
_EARLY = timedelta(days=30)
_PART_OF_LIFE = 5
_WHAT_TO_DO = "renew with 'dapr mtls renew-certificate', or replace the files"


def expiry_notices(ca: CertificateAuthority, now: datetime) -> list[str]:
    """One line for the issuer and one for the root when its last month, or fifth, has begun."""
    found = (
        _notice("issuer certificate", ca.bundle.issuer, now),
        _notice("root certificate", ca.root, now),
    )
    return [notice for notice in found if notice]


def _notice(what: str, certificate: x509.Certificate, now: datetime) -> str:
    ends = certificate.not_valid_after_utc
    life = ends - certificate.not_valid_before_utc
    left = ends - now
    if left > min(_EARLY, life / _PART_OF_LIFE):
        return ""
    if left <= timedelta(0):
        return f"The {what} has expired on {ends:%Y-%m-%d %H:%M} UTC: {_WHAT_TO_DO}"
    return f"The {what} ends on {ends:%Y-%m-%d %H:%M} UTC, in {_shown(left)}: {_WHAT_TO_DO}"


def _shown(left: timedelta) -> str:
    if left >= timedelta(days=2):
        return f"{left.days} days"
    return f"{left // timedelta(hours=1)} hours"


class ExpiryWatch:
    """Logs a notice once, and again when its text changes: once a day, at the end once an hour."""

    def __init__(self) -> None:
        self._said: list[str] = []

    def look(self, ca: CertificateAuthority, now: datetime) -> None:
        """Look once."""
        notices = expiry_notices(ca, now)
        for notice in notices:
            if notice not in self._said:
                _LOG.warning("%s", notice)
        self._said = notices

    async def run(self, current: Callable[[], CertificateAuthority]) -> None:
        """Look every hour until cancelled."""
        while True:
            self.look(current(), datetime.now(UTC))
            await asyncio.sleep(_PAUSE_SECONDS)
