"""One injector from start to stop: an identity, a webhook, its registration, what they follow."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os

from dapr_common.aio.run import FatalError
from dapr_common.kube.api_errors import LoginError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.events import EventRecorder
from dapr_common.kube.kinds import MUTATING_WEBHOOKS
from dapr_common.kube.login import find_login
from dapr_common.kube.webhook_registration import Place, WebhookRegistration
from dapr_common.kube.webhook_server import WebhookServer
from dapr_common.kube.webhook_trust import WebhookTrust
from dapr_common.observe.health import Readiness
from dapr_common.observe.logs import get_logger
from dapr_common.observe.metrics import Registry
from dapr_common.program import observed
from dapr_common.security.control_plane import identity_request
from dapr_common.security.errors import SecuritySettingsError
from dapr_common.security.sentry_client import IdentityRequest
from dapr_injector.callers import Callers
from dapr_injector.cluster import ClusterFacts, MtlsSetting, account_uids
from dapr_injector.metrics import InjectorMetrics
from dapr_injector.reports import Reports
from dapr_injector.settings import Settings
from dapr_injector.webhook import PATH, Webhook

_LOG = get_logger("dapr.injector")
_SECURITY, _SERVICE = "security-provider", "injector-service"
_REGISTRATION = "webhook-configuration"
_COMPONENT = "dapr-injector"
_PLACE = Place(
    MUTATING_WEBHOOKS,
    "MutatingWebhookConfiguration",
    "dapr-sidecar-injector",
    "/webhooks/0/clientConfig",
)


async def run(settings: Settings) -> None:
    """Serve until cancelled. Raises ``FatalError``."""
    for notice in settings.notices:
        _LOG.warning("%s", notice)
    readiness = Readiness([_SECURITY, _SERVICE, _REGISTRATION])
    registry = Registry()
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(observed(settings.service, registry, readiness, _LOG))
        client = await stack.enter_async_context(_client(settings))
        injector = Injector(settings, client, readiness, InjectorMetrics(registry))
        stack.push_async_callback(injector.close)
        await injector.run()


def _client(settings: Settings) -> KubeClient:
    try:
        return KubeClient(find_login(settings.kubeconfig))
    except LoginError as error:
        raise FatalError(str(error)) from error


def _identity(settings: Settings) -> IdentityRequest:
    try:
        return identity_request(
            "injector",
            os.environ,
            trust_domain=settings.identity.trust_domain,
            sentry_address=settings.sentry_address,
            in_cluster=True,
            key_kind="rsa",  # the API server's TLS takes it whatever its age
        )
    except SecuritySettingsError as error:
        raise FatalError(str(error)) from error


class Injector:
    """Everything that is followed or served; ``run`` until cancelled, then ``close``."""

    def __init__(
        self,
        settings: Settings,
        client: KubeClient,
        readiness: Readiness,
        metrics: InjectorMetrics,
    ) -> None:
        self._settings = settings
        self._client = client
        self._readiness = readiness
        request = _identity(settings)
        token = request.token_file
        registration = WebhookRegistration(client, _PLACE, lambda: readiness.ready(_REGISTRATION))
        self._trust = WebhookTrust(request, settings.trust_anchors_file, [registration])
        self._mtls = MtlsSetting(client, settings.identity.namespace)
        self._facts = ClusterFacts(
            client,
            self._mtls,
            self._trust,
            has_identity_token=token is not None and token.exists(),
        )
        self._events = EventRecorder(client, _COMPONENT)
        self._reports = Reports(metrics, self._events)
        self._server: WebhookServer | None = None

    async def run(self) -> None:
        """Get an identity, listen, register, and keep everything current."""
        try:
            await self._trust.start()
        except SecuritySettingsError as error:
            raise FatalError(str(error)) from error
        self._readiness.ready(_SECURITY)
        await self._mtls.start()
        await self._listen(await self._callers())
        gc.collect()
        gc.freeze()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._trust.run(), name="identity")
            tasks.create_task(self._mtls.run(), name="follow the mTLS setting")
            tasks.create_task(self._events.run(), name="events")

    async def close(self) -> None:
        """Let the API server go to others, and answer what it has asked."""
        self._readiness.unready(_SERVICE)
        if self._server is not None:
            await self._server.close()

    async def _callers(self) -> Callers:
        patterns = self._settings.allowed_accounts
        uids = await account_uids(self._client, Callers(patterns).exact_accounts)
        return Callers(patterns, uids)

    async def _listen(self, callers: Callers) -> None:
        webhook = Webhook(self._settings, callers, self._facts, self._reports)
        self._server = WebhookServer({PATH: webhook.handle}, self._trust.contexts)
        await self._server.open(self._settings.listen_address, self._settings.port)
        self._readiness.ready(_SERVICE)
        _LOG.info("%s injects %s", self._settings.identity, self._settings.image)
