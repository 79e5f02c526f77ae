"""Keeps the ``<app id>-dapr`` Service of every annotated workload as it shall be."""

from __future__ import annotations

import asyncio

from dapr_common.kube.api_errors import AlreadyExistsError, ApiError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.events import EventRecorder, Subject
from dapr_common.kube.informer import Change, Informer, Key
from dapr_common.kube.kinds import KubeObject, Selection
from dapr_common.observe.logs import get_logger
from dapr_operator.annotations import ENABLED
from dapr_operator.kinds import SERVICES
from dapr_operator.metrics import OperatorMetrics
from dapr_operator.service_object import (
    AppIdError,
    app_id,
    is_same,
    replaced,
    service_for,
    service_name,
)
from dapr_operator.work_queue import WorkQueue
from dapr_operator.workload import Workload, WorkloadKey, owner_key

_LOG = get_logger("dapr.operator.services")
_AT_A_TIME = 16
_INVALID = 422


class ServiceReconciler:
    """Told of workloads by ``saw`` and ``lost``; follows the Services itself.

    A Service belongs to the first workload of its app id for as long as that lives: with two of
    one app id, such as blue and green, they do not take it from each other. A Service that is not
    Dapr's is left alone.
    """

    def __init__(
        self, client: KubeClient, metrics: OperatorMetrics, events: EventRecorder, namespace: str
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._events = events
        self._workloads: dict[WorkloadKey, Workload] = {}
        self._by_service: dict[Key, set[WorkloadKey]] = {}
        selection = Selection(SERVICES, namespace, labels=f"{ENABLED}=true")
        self._services = Informer(client, selection, _kept)
        self._services.on_change(self._service_changed)
        self._queue: WorkQueue[WorkloadKey] = WorkQueue(self._reconcile, _AT_A_TIME)

    def saw(self, workload: Workload) -> None:
        """It is there, like this."""
        if not workload.wants_service:
            self.lost(workload.key)
            return
        if self._workloads.get(workload.key) == workload:
            return
        self.lost(workload.key)
        self._workloads[workload.key] = workload
        try:
            service = (workload.key.namespace, service_name(workload))
        except AppIdError as error:
            self._refuse(workload, "InvalidAppId", f"there is no Service for it: {error}")
            return
        self._by_service.setdefault(service, set()).add(workload.key)
        self._queue.add(workload.key)

    def lost(self, key: WorkloadKey) -> None:
        """It is gone, or wants no Service any more: its Service goes with its owner."""
        if self._workloads.pop(key, None) is None:
            return
        for service, workloads in list(self._by_service.items()):
            workloads.discard(key)
            if not workloads:
                del self._by_service[service]

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._services.run(), name="follow services")
            await self._services.synced.wait()
            tasks.create_task(self._queue.run(), name="reconcile services")

    def _service_changed(self, change: Change[KubeObject]) -> None:
        if change.after is None and change.before is not None:
            self._metrics.deleted.at(_app_id_of(change.before)).add()
        for key in self._by_service.get(change.key, ()):
            self._queue.add(key)

    async def _reconcile(self, key: WorkloadKey) -> None:
        workload = self._workloads.get(key)
        if workload is None:
            return
        wanted = service_for(workload)
        found = self._services.get(wanted["metadata"]["name"], key.namespace)
        if found is not None and is_same(found, wanted):
            return
        if found is not None and await self._is_anothers(workload, found):
            return
        if not await self._is_there(workload):
            return
        try:
            await self._write(workload, found, wanted)
        except ApiError as error:
            if error.status != _INVALID:
                raise
            # No other try helps: a change of the workload begins anew.
            self._refuse(workload, "ServiceRefused", f"the cluster takes no such Service: {error}")

    async def _write(
        self, workload: Workload, found: KubeObject | None, wanted: KubeObject
    ) -> None:
        if found is None:
            await self._create(workload, wanted)
        else:
            await self._client.update(SERVICES, replaced(found, wanted))
            self._metrics.updated.at(app_id(workload)).add()
            _LOG.info("Service of %s is up to date again", workload.key)

    async def _create(self, workload: Workload, wanted: KubeObject) -> None:
        try:
            await self._client.create(SERVICES, wanted, workload.key.namespace)
        except AlreadyExistsError:
            name = wanted["metadata"]["name"]
            if self._services.get(name, workload.key.namespace) is not None:
                raise  # made a moment ago: look again
            self._refuse(
                workload,
                "ServiceNotOurs",
                f"Service {name} is not Dapr's and is left alone: delete it, or change the app id",
            )
            return
        self._metrics.created.at(app_id(workload)).add()
        _LOG.info("Service %s is made for %s", wanted["metadata"]["name"], workload.key)

    async def _is_anothers(self, workload: Workload, service: KubeObject) -> bool:
        owner = owner_key(service)
        if owner is None or owner[1] == workload.uid or owner[0] == workload.key:
            return False
        try:
            body = await self._client.get(owner[0].kind, owner[0].name, owner[0].namespace)
        except NotFoundError:
            return False
        if body["metadata"].get("uid") != owner[1]:
            return False
        _LOG.debug("The Service for %s belongs to %s", workload.key, owner[0])
        return True

    async def _is_there(self, workload: Workload) -> bool:
        """Nothing is made for what has gone meanwhile: nobody would take it away again."""
        key = workload.key
        try:
            body = await self._client.get(key.kind, key.name, key.namespace)
        except NotFoundError:
            self.lost(key)
            return False
        now = Workload.of(key.kind, body)
        if now != workload:
            self.saw(now)
            return False
        return True

    def _refuse(self, workload: Workload, reason: str, message: str) -> None:
        _LOG.warning("%s: %s", workload.key, message)
        reference, key = workload.reference, workload.key
        subject = Subject(
            reference["apiVersion"], reference["kind"], key.name, key.namespace, workload.uid
        )
        self._events.report(subject, reason, message)


def _kept(body: KubeObject) -> KubeObject:
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return {"metadata": metadata, "spec": body.get("spec") or {}}


def _app_id_of(service: KubeObject) -> str:
    return str(service["metadata"]["name"]).removesuffix("-dapr")
