"""One sentry from start to stop: built, served, followed, swapped."""

from __future__ import annotations

import asyncio
import contextlib
import gc

from dapr_common.aio.run import FatalError
from dapr_common.observe.health import Readiness
from dapr_common.observe.logs import get_logger
from dapr_common.observe.metrics import Registry
from dapr_common.program import observed
from dapr_common.security.authority import BundleError
from dapr_common.security.tls import TlsContexts
from dapr_sentry.bundle_store import StoreError
from dapr_sentry.ca import CertificateAuthority
from dapr_sentry.configuration import ConfigurationError
from dapr_sentry.expiry import ExpiryWatch
from dapr_sentry.jwt import JwtError
from dapr_sentry.metrics import SentryMetrics
from dapr_sentry.oidc import TARGET as OIDC
from dapr_sentry.oidc import OidcServer
from dapr_sentry.server import SentryServer
from dapr_sentry.service import SentryService
from dapr_sentry.serving_certificate import ServingCertificate, ServingCertificateError
from dapr_sentry.settings import Settings
from dapr_sentry.surroundings import Surroundings, surroundings
from dapr_sentry.validators.base import ValidatorError
from dapr_sentry.validators.selection import Selection
from dapr_sentry.versions import Version, Versions

_LOG = get_logger("dapr.sentry")
_SECURITY, _SERVER = "security-provider", "sentry-server"
_RETIRE_SECONDS = 15.0  # as long as a call may take
_REFUSALS = (
    BundleError,
    ConfigurationError,
    JwtError,
    ServingCertificateError,
    StoreError,
    ValidatorError,
)


async def run(settings: Settings) -> None:
    """Serve until cancelled. Raises ``FatalError``."""
    readiness = Readiness([_SECURITY, _SERVER])
    registry = Registry()
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(observed(settings.service, registry, readiness, _LOG))
        around = surroundings(settings)
        stack.push_async_callback(around.close)
        sentry = Sentry(settings, around, readiness, SentryMetrics(registry))
        stack.push_async_callback(sentry.close)
        try:
            await sentry.start()
        except _REFUSALS as error:
            raise FatalError(str(error)) from error
        gc.collect()
        gc.freeze()
        await sentry.run()


class Sentry:
    """The newest version of everything, its server, and what keeps both current."""

    def __init__(
        self,
        settings: Settings,
        around: Surroundings,
        readiness: Readiness,
        metrics: SentryMetrics,
    ) -> None:
        self._settings = settings
        self._around = around
        self._readiness = readiness
        self._metrics = metrics
        self._versions = Versions(settings, around)
        self._contexts = TlsContexts()
        self._certificate = ServingCertificate(settings.identity, self._contexts, metrics)
        self._expiry = ExpiryWatch()
        self._version: Version | None = None
        self._service: SentryService | None = None
        self._server: SentryServer | None = None
        self._oidc: OidcServer | None = None

    # --- start and stop ---------------------------------------------------------------------

    async def start(self) -> None:
        """Load or make the certificate authority, then listen. Raises one of ``_REFUSALS``."""
        version = self._version = await self._versions.first()
        self._certificate.install(version.issuing.ca)
        self._measure(version.issuing.ca)
        self._readiness.ready(_SECURITY)
        self._oidc = self._oidc_server(version)
        await self._open(version.selection)
        self._service = SentryService(version.issuing, self._metrics)
        self._server = SentryServer(self._service, self._contexts)
        await self._server.open(self._settings.listen_address, self._settings.port)
        self._readiness.ready(_SERVER)
        _LOG.info("%s issues certificates", self._settings.identity)

    async def run(self) -> None:
        """Keep everything current until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(tasks), name="follow the store")
            tasks.create_task(self._certificate.run(), name="renew sentry's certificate")
            tasks.create_task(self._expiry.run(self._authority), name="watch the issuer's end")
            if self._oidc is not None:
                serving = self._oidc.run(lambda: self._readiness.ready(OIDC))
                tasks.create_task(serving, name="serve OIDC discovery")

    async def close(self) -> None:
        """Let calls under way end, then close the validators."""
        self._readiness.unready(_SERVER)
        if self._server is not None:
            await self._server.close()
        if self._version is not None:
            await self._version.selection.close()

    async def _open(self, selection: Selection) -> None:
        for target in selection.targets:
            self._readiness.add(target)
        await selection.open()
        for target in selection.targets:
            self._readiness.ready(target)

    def _oidc_server(self, version: Version) -> OidcServer | None:
        settings, jwt = self._settings, version.issuing.jwt
        if settings.oidc is None or settings.jwt is None or jwt is None:
            return None
        self._readiness.add(OIDC)
        return OidcServer(settings.oidc, jwt, issuer_url=settings.jwt.issuer)

    # --- change -----------------------------------------------------------------------------

    @property
    def _now(self) -> Version:
        assert self._version is not None, "start comes first"
        return self._version

    def _authority(self) -> CertificateAuthority:
        return self._now.issuing.ca

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        async for _ in self._around.store.changes():
            try:
                version = await self._versions.after(self._now)
                if version is not None:
                    await self._swap(version, tasks)
            except _REFUSALS as error:
                self._metrics.reload_failed.add()
                _LOG.error("A change is not taken over, what was in use stays in use: %s", error)
            except Exception:  # noqa: BLE001 - certificates are issued whatever a change holds
                self._metrics.reload_failed.add()
                _LOG.exception("A change is not taken over, what was in use stays in use")

    async def _swap(self, version: Version, tasks: asyncio.TaskGroup) -> None:
        """From one call to the next everything is new; listeners and connections stay open."""
        before = self._now
        try:
            self._certificate.install(version.issuing.ca)
        except ServingCertificateError:
            if version.selection is not before.selection:
                await version.selection.close()
            raise
        assert self._service is not None
        self._service.use(version.issuing)
        self._version = version
        if self._oidc is not None and version.issuing.jwt is not None:
            self._oidc.publish(version.issuing.jwt)
        self._report(before, version)
        if version.selection is not before.selection:
            tasks.create_task(_retire(before.selection), name="close replaced validators")

    def _report(self, before: Version, after: Version) -> None:
        ca = after.issuing.ca
        self._measure(ca)
        if ca.bundle.issuer != before.issuing.ca.bundle.issuer:
            self._metrics.issuer_changed.add()
            _LOG.info("The issuer certificate has changed; the new one ends on %s", ca.ends)
        if ca.bundle.anchors != before.issuing.ca.bundle.anchors:
            _LOG.info("The trust anchors have changed; there are %d now", len(ca.bundle.anchors))
        if after.configuration != before.configuration:
            _LOG.info("The Configuration has changed")

    def _measure(self, ca: CertificateAuthority) -> None:
        self._metrics.issuer_expiry.set(ca.bundle.issuer.not_valid_after_utc.timestamp())
        self._metrics.root_expiry.set(ca.root.not_valid_after_utc.timestamp())


async def _retire(selection: Selection) -> None:
    """Close replaced validators when the requests they judge are answered."""
    try:
        await asyncio.sleep(_RETIRE_SECONDS)
    finally:
        await selection.close()
