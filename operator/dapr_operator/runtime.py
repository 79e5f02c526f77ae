"""One operator from start to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os

from dapr_common.aio.host import host_address, join_host_port
from dapr_common.aio.run import FatalError
from dapr_common.kube.api_errors import LoginError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.events import EventRecorder
from dapr_common.kube.login import Login, find_login
from dapr_common.kube.webhook_trust import WebhookTrust
from dapr_common.observe.health import Readiness
from dapr_common.observe.logs import get_logger
from dapr_common.observe.metrics import Registry
from dapr_common.program import observed
from dapr_common.security.control_plane import identity_request
from dapr_common.security.errors import SecuritySettingsError
from dapr_operator.api import OperatorApi
from dapr_operator.cache import Cache
from dapr_operator.control_plane import control_plane
from dapr_operator.kinds import DaprKind
from dapr_operator.leadership import operators_lease
from dapr_operator.leading import Leader
from dapr_operator.metrics import OperatorMetrics
from dapr_operator.pods import Pods
from dapr_operator.reports import Reports
from dapr_operator.resource import Resource
from dapr_operator.secrets import SecretReader
from dapr_operator.server import ApiServer
from dapr_operator.settings import Settings
from dapr_operator.status import StatusWriter
from dapr_operator.webhooks import Webhooks

_LOG = get_logger("dapr.operator")
_PROVIDER, _SECURITY = "security-provider", "operator-security"
_API, _CACHE, _WEBHOOK = "operator-api-server", "operator-cache", "operator-webhook"
_COMPONENT = "dapr-operator"
_REPEAT_SECONDS = 600.0  # what is looked at every few seconds is told now and then


async def run(settings: Settings) -> None:
    """Serve until cancelled. Raises ``FatalError``."""
    readiness = Readiness([_PROVIDER, _SECURITY, _API, _CACHE])
    registry = Registry()
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(observed(settings.service, registry, readiness, _LOG))
        try:
            login = find_login(settings.kubeconfig)
        except LoginError as error:
            raise FatalError(str(error)) from error
        client = await stack.enter_async_context(KubeClient(login))
        operator = Operator(settings, login, client, readiness, OperatorMetrics(registry))
        stack.push_async_callback(operator.close)
        try:
            await operator.start()
        except SecuritySettingsError as error:
            raise FatalError(str(error)) from error
        gc.collect()
        gc.freeze()
        await operator.run()


class Operator:
    """The parts, and the order in which they start and stop."""

    def __init__(
        self,
        settings: Settings,
        login: Login,
        client: KubeClient,
        readiness: Readiness,
        metrics: OperatorMetrics,
    ) -> None:
        self._settings = settings
        self._login = login
        self._client = client
        self._readiness = readiness
        self._metrics = metrics
        self._cache = Cache(client, settings.watch_namespace)
        self._pods = Pods(client, settings.watch_namespace)
        self._secrets = SecretReader(client)
        self._api = OperatorApi(self._cache, self._pods, self._secrets, self._missing)
        self._status = StatusWriter(client, self._cache)
        self._events = EventRecorder(client, _COMPONENT, repeat_seconds=_REPEAT_SECONDS)
        self._webhooks = self._make_webhooks()
        self._trust: WebhookTrust | None = None
        self._server: ApiServer | None = None
        self._reports: Reports | None = None

    async def start(self) -> None:
        """Get an identity. Raises ``SecuritySettingsError``."""
        settings = self._settings
        plane = await control_plane(self._client, settings.config, settings.namespace)
        request = identity_request(
            "operator",
            os.environ,
            trust_domain=plane.trust_domain,
            sentry_address=plane.sentry_address,
            in_cluster=settings.in_cluster,
            key_kind="rsa",
        )
        registrations = () if self._webhooks is None else self._webhooks.registrations
        self._trust = WebhookTrust(
            request, settings.trust_anchors_file, registrations, self._metrics
        )
        await self._trust.start()
        self._readiness.ready(_PROVIDER)
        self._readiness.ready(_SECURITY)
        self._reports = Reports(
            self._trust.svid.id,
            self._trust.contexts,
            self._address,
            self._status,
            self._events,
        )
        methods = [*self._api.methods, self._reports.method]
        self._server = ApiServer(methods, self._trust.contexts)

    async def run(self) -> None:
        """Serve until cancelled."""
        assert self._trust is not None, "start comes first"
        assert self._server is not None, "start comes first"
        if self._webhooks is not None:
            await self._webhooks.open(self._trust.contexts)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._trust.run(), name="identity")
            tasks.create_task(self._cache.run(), name="cache")
            tasks.create_task(self._pods.run(), name="pods")
            tasks.create_task(self._feed(), name="feeds")
            tasks.create_task(self._events.run(), name="events")
            await self._server.open(self._settings.listen_address, self._settings.port)
            self._readiness.ready(_API)
            tasks.create_task(self._lead(), name="leadership")
            await self._cache.settled()
            await self._pods.synced.wait()
            self._readiness.ready(_CACHE)
            _LOG.info("Sidecars are served")

    async def _feed(self) -> None:
        """Streams end as soon as nothing comes any more: their sidecars find another operator."""
        try:
            await self._api.run()
        finally:
            self._readiness.unready(_API)
            self._api.close()

    async def _lead(self) -> None:
        assert self._reports is not None, "start comes first"
        settings = self._settings
        leader = Leader(
            settings,
            self._login,
            self._client,
            self._pods,
            self._status,
            self._events,
            self._metrics,
        )
        if not settings.leader_election:
            self._reports.follow(self._address)
            await leader.run()
            return
        lease = await operators_lease(
            self._client, settings.namespace, self._address, self._reports.follow
        )
        await lease.run(leader.run)

    @property
    def _address(self) -> str:
        """Where other operators reach this one."""
        host = self._settings.listen_address or host_address()
        return join_host_port(host, self._settings.port)

    async def close(self) -> None:
        """Let calls under way end."""
        if self._server is not None:
            await self._server.close()
        if self._reports is not None:
            await self._reports.close()
        if self._webhooks is not None:
            await self._webhooks.close()
        await self._secrets.close()

    def _make_webhooks(self) -> Webhooks | None:
        settings = self._settings
        if settings.webhook is None:
            return None
        self._readiness.add(_WEBHOOK)
        return Webhooks(
            settings.webhook,
            settings.namespace,
            self._client,
            self._cache,
            self._metrics,
            lambda: self._readiness.ready(_WEBHOOK),
        )

    def _missing(self, kind: DaprKind, resource: Resource, missing: tuple[str, ...]) -> None:
        self._status.missing(kind, resource, missing)
        if not missing:
            return
        _LOG.warning("%s %s/%s lacks values: %s", kind.word, *resource.key, "; ".join(missing))
        self._events.report(resource.subject(kind), "SecretMissing", "; ".join(missing))
