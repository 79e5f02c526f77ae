"""Heals pods that the injector missed: they are deleted, and their controllers make new ones.

Nothing is deleted that would not come back, nothing while no injector could do better, and no
faster than allowed. Pods of one controller that come back without a sidecar again and again are
left alone for longer and longer, and at last for good: something keeps the injector from them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from dapr_common.kube.api_errors import KubeError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.events import EventRecorder, Subject
from dapr_common.kube.informer import Informer
from dapr_common.kube.kinds import PODS, KubeObject, Selection
from dapr_common.observe.logs import get_logger
from dapr_operator.kinds import DEPLOYMENTS
from dapr_operator.metrics import OperatorMetrics
from dapr_operator.pods import PATCHED, Owner, Pod, Pods
from dapr_operator.settings import WatchdogSettings

_LOG = get_logger("dapr.operator.watchdog")
_INJECTOR = "app=dapr-sidecar-injector"
_AGAIN_SECONDS = 5.0
_FIRST_PATIENCE, _MOST_TIMES = 60.0, 6  # the last look is half an hour after the one before
_MOST_REMEMBERED = 10_000
_LEFT_ALONE = (
    f"it was made anew {_MOST_TIMES} times and is left alone now: is its namespace excluded from "
    "the injector's webhook, or its creator not in ALLOWED_SERVICE_ACCOUNTS? Delete it yourself "
    "once that is mended"
)


@dataclass(frozen=True, slots=True)
class _Healed:
    """A controller some of whose pods were deleted: how often in a row, and when again."""

    times: int
    again_at: float


class Patience:
    """How often pods of one controller may be deleted. Pure: the time is passed in."""

    def __init__(self) -> None:
        self._healed: OrderedDict[str, _Healed] = OrderedDict()

    def may(self, owner: Owner, now: float) -> bool:
        """Whether a pod of this controller may be deleted now."""
        healed = self._healed.get(owner.uid)
        return healed is None or (healed.times < _MOST_TIMES and now >= healed.again_at)

    def has_ended(self, owner: Owner) -> bool:
        """Whether deleting its pods never helped."""
        healed = self._healed.get(owner.uid)
        return healed is not None and healed.times >= _MOST_TIMES

    def worked(self, owner: Owner) -> None:
        """A new pod of it has its sidecar: what was in the way is no more."""
        healed = self._healed.get(owner.uid)
        if healed is not None:
            self._healed[owner.uid] = _Healed(0, healed.again_at)

    def deleted(self, owner: Owner, pods: int, now: float) -> None:
        """Pods of it were deleted, all of one pass; the next may follow after a while."""
        before = self._healed.pop(owner.uid, None)
        times = 1 if before is None else before.times + 1
        wait = _FIRST_PATIENCE * 2 ** (times - 1)
        self._healed[owner.uid] = _Healed(times, now + wait)
        if len(self._healed) > _MOST_REMEMBERED:
            self._healed.popitem(last=False)
        if 1 < times < _MOST_TIMES:
            _LOG.warning(
                "%s %s: %d pods without a sidecar for the %d. time in a row; the next look is in "
                "%.0f s: is its namespace excluded from the injector's webhook?",
                *(owner.kind, owner.name, pods, times, wait),
            )


class Watchdog:
    """``run`` looks until cancelled; with ``once``, until one pass went well."""

    def __init__(
        self,
        client: KubeClient,
        pods: Pods,
        settings: WatchdogSettings,
        metrics: OperatorMetrics,
        events: EventRecorder,
        namespace: str,
    ) -> None:
        self._client = client
        self._pods = pods
        self._settings = settings
        self._metrics = metrics
        self._events = events
        self._patience = Patience()
        self._with_sidecar: set[str] = set()
        injectors = Selection(DEPLOYMENTS, namespace, labels=_INJECTOR)
        self._injectors = Informer(client, injectors, _ready_replicas)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(self._injectors.run(), name="follow the injector")
            await self._injectors.synced.wait()
            await self._pods.synced.wait()
            await self._look_for_ever()
            following.cancel()

    async def _look_for_ever(self) -> None:
        interval = self._settings.interval
        said = False
        while True:
            if not self._injector_is_ready():
                if not said:
                    _LOG.info("Pods without a sidecar are left alone until an injector is ready")
                said = True
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            said = False
            await self._pass()
            if interval is None:
                return
            await asyncio.sleep(interval.total_seconds())

    def _injector_is_ready(self) -> bool:
        return any(ready > 0 for ready in self._injectors.objects.values())

    async def _pass(self) -> None:
        now = asyncio.get_running_loop().time
        deleted: dict[Owner, int] = {}
        self._notice_new_sidecars()
        for pod in [pod for pod in self._pods.all if _is_left(pod)]:
            if pod.has_sidecar:
                await self._label(pod)
            elif pod.owner is None:
                self._tell(pod, "it has no controller that would make it anew: delete it yourself")
            elif self._patience.has_ended(pod.owner):
                self._tell(pod, _LEFT_ALONE)
            elif self._patience.may(pod.owner, now()) and await self._delete(pod):
                deleted[pod.owner] = deleted.get(pod.owner, 0) + 1
                if self._settings.restarts_per_minute:
                    await asyncio.sleep(60.0 / self._settings.restarts_per_minute)
            if not self._injector_is_ready():
                break
        for owner, count in deleted.items():
            self._patience.deleted(owner, count, now())

    def _notice_new_sidecars(self) -> None:
        having = {pod.uid: pod.owner for pod in self._pods.all if pod.is_marked or pod.has_sidecar}
        for uid, owner in having.items():
            if owner is not None and uid not in self._with_sidecar:
                self._patience.worked(owner)
        self._with_sidecar = set(having)

    async def _delete(self, pod: Pod) -> bool:
        """The very pod: one of the same name may have been made meanwhile."""
        try:
            found = await self._client.get(PODS, pod.name, pod.namespace)
            current = Pod.of(found)
            if current is None or current.uid != pod.uid or not _is_left(current):
                return False
            await self._client.delete(PODS, pod.name, pod.namespace)
        except NotFoundError:
            return False
        except KubeError as error:
            _LOG.error("Pod %s/%s cannot be deleted: %s", *pod.key, error)
            return False
        self._metrics.healed.add()
        self._tell(pod, "it was deleted, its controller makes a new one")
        return True

    async def _label(self, pod: Pod) -> None:
        if not self._settings.may_label:
            return
        try:
            patch = {"metadata": {"labels": {PATCHED: "true"}}}
            await self._client.patch(PODS, pod.name, patch, pod.namespace)
        except KubeError as error:
            _LOG.error("Pod %s/%s cannot be labelled: %s", *pod.key, error)

    def _tell(self, pod: Pod, what: str) -> None:
        message = f"The pod wants a sidecar and has none: {what}"
        subject = Subject("v1", "Pod", pod.name, pod.namespace, pod.uid)
        if self._events.report(subject, "SidecarMissing", message):
            _LOG.info("Pod %s/%s: %s", *pod.key, message)


def _is_left(pod: Pod) -> bool:
    return pod.is_for_injector and not pod.is_marked and not pod.is_ending


def _ready_replicas(body: KubeObject) -> int:
    return int((body.get("status") or {}).get("readyReplicas") or 0)
