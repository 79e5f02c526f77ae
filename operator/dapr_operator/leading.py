"""What one operator of several does: the leader."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from dapr_common.kube.client import KubeClient
from dapr_common.kube.events import EventRecorder
from dapr_common.kube.login import Login
from dapr_common.observe.logs import get_logger
from dapr_operator.crash_loops import CrashLoopEvents
from dapr_operator.kinds import DEPLOYMENTS, ROLLOUTS, STATEFUL_SETS
from dapr_operator.metrics import OperatorMetrics
from dapr_operator.pods import Pods
from dapr_operator.service_reconciler import ServiceReconciler
from dapr_operator.settings import Settings
from dapr_operator.status import StatusWriter
from dapr_operator.watchdog import Watchdog

_LOG = get_logger("dapr.operator")
_PAUSE_SECONDS = 5.0


class Leader:
    """Services, healing, status. ``run`` until cancelled; each time begins from what is there."""

    def __init__(
        self,
        settings: Settings,
        login: Login,
        client: KubeClient,
        pods: Pods,
        status: StatusWriter,
        events: EventRecorder,
        metrics: OperatorMetrics,
    ) -> None:
        self._settings = settings
        self._login = login
        self._client = client
        self._pods = pods
        self._status = status
        self._events = events
        self._metrics = metrics
        self._crash_loops = CrashLoopEvents(pods, events)

    async def run(self) -> None:
        """Do it all."""
        self._metrics.leading.set(1)
        self._crash_loops.begin()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_kept_up("status", self._status.run))
                if self._settings.service_reconciler:
                    tasks.create_task(_kept_up("services", self._reconcile_services))
                if self._settings.watchdog is not None:
                    tasks.create_task(_kept_up("watchdog", self._watchdog().run))
        finally:
            self._crash_loops.end()
            self._metrics.leading.set(0)

    def _watchdog(self) -> Watchdog:
        assert self._settings.watchdog is not None
        return Watchdog(
            self._client,
            self._pods,
            self._settings.watchdog,
            self._metrics,
            self._events,
            self._settings.namespace,
        )

    async def _reconcile_services(self) -> None:
        from dapr_operator.handlers.workloads import Told  # with kopf, which followers go without
        from dapr_operator.workload_watch import WorkloadWatch, when_served

        namespace = self._settings.watch_namespace
        services = ServiceReconciler(self._client, self._metrics, self._events, namespace)
        told = Told(services.saw, services.lost)
        watch = WorkloadWatch(self._login, (DEPLOYMENTS, STATEFUL_SETS), namespace, told)

        async def follow_rollouts() -> None:
            await when_served(self._client, ROLLOUTS)
            await WorkloadWatch(self._login, (ROLLOUTS,), namespace, told).run()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(services.run(), name="reconcile services")
            tasks.create_task(watch.run(), name="follow workloads")
            if self._settings.argo_rollouts:
                tasks.create_task(follow_rollouts(), name="follow rollouts")


async def _kept_up(what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Sidecars are served whatever happens here: what fails is logged, and begins anew."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - logged, and begun anew
            _LOG.exception("The %s part has failed and begins anew", what)
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return
