"""The identity of a control plane program, with trust anchors from a file that is followed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography import x509

from dapr_common.aio.watch import watching
from dapr_common.observe.logs import get_logger
from dapr_common.security.errors import SecuritySettingsError
from dapr_common.security.proof import proof_of
from dapr_common.security.sentry_client import IdentityRequest
from dapr_common.security.source import BeforeUse, IdentityEvents, IdentitySource
from dapr_common.security.spiffe import SpiffeError, SpiffeId
from dapr_common.security.tls import TlsContexts
from dapr_common.security.x509 import CertificateError, KeyKind, read_certificates

_LOG = get_logger("dapr.security")
_POLL_SECONDS = 1.0
_LOOK_AGAIN_SECONDS = 60.0
_SETTLE_SECONDS = 0.2
_CONTROL_PLANE = frozenset(
    f"dapr-{program}" for program in ("operator", "injector", "placement", "scheduler", "sentry")
)
"""Ids in the trust domain of the control plane; all others are in their own."""

AnchorsChanged = Callable[[bytes], None]


def identity_request(
    program: str,
    environment: Mapping[str, str],
    *,
    trust_domain: str,
    sentry_address: str,
    in_cluster: bool,
    key_kind: KeyKind = "ed25519",
) -> IdentityRequest:
    """What ``dapr-<program>`` asks sentry for. Raises ``SecuritySettingsError``.

    ``SENTRY_LOCAL_IDENTITY`` is another id to ask for, as everywhere in Dapr.
    """
    app_id = environment.get("SENTRY_LOCAL_IDENTITY") or f"dapr-{program}"
    namespace = environment.get("NAMESPACE") or "default"
    proof = proof_of(environment, in_cluster=in_cluster)
    try:
        sentry = SpiffeId.make(trust_domain, namespace, "dapr-sentry")
    except SpiffeError as error:
        raise SecuritySettingsError(
            f"the trust domain or NAMESPACE cannot be used: {error}"
        ) from error
    return IdentityRequest(
        app_id=app_id,
        namespace=namespace,
        sentry_address=sentry_address or f"dapr-sentry.{namespace}.svc:443",
        sentry_id=sentry,
        trust_domain=sentry.trust_domain if app_id in _CONTROL_PLANE else "",
        validator=proof.validator,
        token_file=proof.token_file,
        key_kind=key_kind,
    )


class ControlPlaneIdentity:
    """``start`` once, then ``run`` until cancelled; ``contexts`` and ``source`` are for use.

    ``anchors_changed`` gets the PEM text of the trust anchors at the start and whenever the file
    changes. A file that cannot be used any more is reported and changes nothing. ``before_use``
    is the identity source's.
    """

    def __init__(
        self,
        request: IdentityRequest,
        anchors_file: Path,
        events: IdentityEvents,
        anchors_changed: AnchorsChanged | None = None,
        before_use: BeforeUse | None = None,
    ) -> None:
        self.contexts = TlsContexts()
        self.source = IdentitySource(request, (), self.contexts, events, before_use=before_use)
        self._file = anchors_file
        self._changed = anchors_changed
        self._read = b""

    async def start(self) -> None:
        """Wait for the trust anchors and get the first certificate.

        Raises ``IdentityError``, and ``SecuritySettingsError`` for a file without certificates.
        """
        said = False
        while (found := self._load()) is None:
            if not said:
                _LOG.warning("Waiting for the trust anchors: there is no %s yet", self._file)
            said = True
            await asyncio.sleep(_POLL_SECONDS)
        try:
            self._take(found)
        except CertificateError as error:
            raise SecuritySettingsError(
                f"the trust anchors cannot be used: {self._file}: {error}"
            ) from error
        await self.source.fetch_initial()

    async def run(self) -> None:
        """Renew the certificate, and follow the trust anchors."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.source.run(), name="identity")
            tasks.create_task(self._follow(), name="trust-anchors")

    async def _follow(self) -> None:
        changed = asyncio.Event()
        with watching(changed, _LOG) as follow:
            while True:
                follow([str(self._file.parent)])
                self._look()
                try:
                    async with asyncio.timeout(_LOOK_AGAIN_SECONDS):
                        await changed.wait()
                except TimeoutError:
                    continue
                await asyncio.sleep(_SETTLE_SECONDS)  # a write in several steps
                changed.clear()

    def _look(self) -> None:
        found = self._load()
        if found is None or found == self._read:
            return
        try:
            self._take(found)
        except CertificateError as error:
            self._read = found
            _LOG.error("%s is not taken over, the trust anchors stay: %s", self._file, error)

    def _take(self, found: bytes) -> None:
        anchors: tuple[x509.Certificate, ...] = read_certificates(found)
        self.source.trust(anchors)
        self._read = found
        if self._changed is not None:
            self._changed(found)

    def _load(self) -> bytes | None:
        try:
            return self._file.read_bytes() or None
        except OSError:
            return None
