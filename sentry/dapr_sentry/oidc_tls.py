"""The OIDC server's certificate from two files that somebody else writes and renews."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from dapr_common.observe.logs import get_logger
from dapr_common.security.tls import RotatingContext

_LOG = get_logger("dapr.sentry.oidc")
_LOOK_SECONDS = 5.0

_Stamps = tuple[tuple[int, int, int], ...]


class CertificateFiles:
    """``context`` serves with what the files hold, once ``wait`` has returned.

    ``look_seconds`` is how often they are looked at.
    """

    def __init__(self, cert: str, key: str, *, look_seconds: float = _LOOK_SECONDS) -> None:
        self.context = RotatingContext(ssl.PROTOCOL_TLS_SERVER)
        self._cert = Path(cert)
        self._key = Path(key)
        self._look_seconds = look_seconds
        self._seen: _Stamps = ()

    async def wait(self) -> None:
        """Return once both files are there and fit each other."""
        while not await self._take():  # noqa: ASYNC110 - files give no sign that lasts
            await asyncio.sleep(self._look_seconds)

    async def follow(self) -> None:
        """Use the files anew whenever they change, until cancelled."""
        while True:
            await asyncio.sleep(self._look_seconds)
            await self._take()

    async def _take(self) -> bool:
        """Use the files if they are others than before; whether there is a certificate in use."""
        try:
            if (stamps := await asyncio.to_thread(self._stamps)) != self._seen:
                self.context.swap(await asyncio.to_thread(self._load))
                self._seen = stamps
        except OSError as error:  # SSLError among them
            instead = "the one before stays in use" if self._seen else "waiting for it"
            _LOG.warning(
                "the OIDC server's certificate (%s, %s) cannot be used, %s: %s",
                self._cert,
                self._key,
                instead,
                error,
            )
        return bool(self._seen)

    def _stamps(self) -> _Stamps:
        found = (path.stat() for path in (self._cert, self._key))
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self._cert, self._key, password="")  # never ask on a terminal
        return context
