"""Writes the status of resources: few writes, whatever the sidecars say how fast.

Only the leader writes. It knows the sidecars that are connected to itself, and by relay those that
are connected to the others.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial

from dapr_common.kube.api_errors import ForbiddenError, KubeError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.informer import Change
from dapr_common.observe.logs import get_logger
from dapr_operator.cache import Cache
from dapr_operator.kinds import (
    COMPONENT,
    CONFIGURATION,
    HTTP_ENDPOINT,
    RESILIENCY,
    SUBSCRIPTION,
    DaprKind,
)
from dapr_operator.report_book import Name, ReportBook
from dapr_operator.resource import Resource
from dapr_operator.status_object import Status, counted, is_new, status_of

_LOG = get_logger("dapr.operator.status")
_WITH_STATUS = (COMPONENT, CONFIGURATION, HTTP_ENDPOINT, RESILIENCY, SUBSCRIPTION)
_BY_WORD = {kind.word: kind for kind in _WITH_STATUS}
_GATHER_SECONDS = 0.5
_WRITE_PAUSE_SECONDS = 0.05
_AGAIN_SECONDS = 1.0
_FORBIDDEN_SECONDS = 60.0
_SETTLE_SECONDS = 5.0

Dirty = tuple[DaprKind, str, str]


class StatusWriter:
    """``changed`` and ``missing`` are told on every operator; ``run`` is the leader's."""

    def __init__(
        self, client: KubeClient, cache: Cache, *, settle_seconds: float = _SETTLE_SECONDS
    ) -> None:
        self.book = ReportBook(self._report_changed)
        self._client = client
        self._cache = cache
        self._settle_seconds = settle_seconds
        self._missing: dict[Dirty, tuple[str, ...]] = {}
        self._dirty: dict[Dirty, None] = {}
        self._changed = asyncio.Event()
        self._leading = False
        for kind in _WITH_STATUS:
            cache[kind].on_change(partial(self._resource_changed, kind))

    def missing(self, kind: DaprKind, resource: Resource, missing: tuple[str, ...]) -> None:
        """Values of a resource that cannot be had."""
        key = (kind, *resource.key)
        self._missing.pop(key, None)
        if missing:
            self._missing[key] = missing
        self._touch(key)

    def resource(self, kind: DaprKind, namespace: str, name: str) -> Resource | None:
        """What a report is about."""
        return self._cache[kind].get(namespace, name)

    async def run(self) -> None:
        """Write until cancelled. A new leader waits first for sidecars to come to it."""
        await asyncio.sleep(self._settle_seconds)
        self._leading = True
        try:
            self._touch_all()
            while True:
                await self._changed.wait()
                await asyncio.sleep(_GATHER_SECONDS)
                self._changed.clear()
                await self._refresh_all()
        finally:
            self._leading = False
            self._dirty.clear()

    async def _refresh_all(self) -> None:
        dirty, self._dirty = self._dirty, {}
        for key in dirty:
            await self._refresh(key)

    # --- what to look at --------------------------------------------------------------------

    def _report_changed(self, namespace: str, name: Name) -> None:
        if not name[1]:
            for kind in _WITH_STATUS:
                for resource in self._cache[kind].of_namespace(namespace):
                    self._touch((kind, *resource.key))
        elif (kind_named := _BY_WORD.get(name[0])) is not None:
            self._touch((kind_named, namespace, name[1]))

    def _touch_all(self) -> None:
        for kind in _WITH_STATUS:
            for resource in self._cache[kind].all():
                self._touch((kind, *resource.key))

    def _resource_changed(self, kind: DaprKind, change: Change[Resource]) -> None:
        key = (kind, *change.key)
        if change.after is None:
            self._missing.pop(key, None)
        self._touch(key)

    def _touch(self, key: Dirty) -> None:
        if self._leading:
            self._dirty[key] = None
            self._changed.set()

    # --- writing ----------------------------------------------------------------------------

    async def _refresh(self, key: Dirty) -> None:
        kind, namespace, name = key
        resource = self._cache[kind].newest(namespace, name)
        if resource is None:
            return
        found = counted(kind, resource, self.book.of_namespace(namespace))
        status = status_of(
            kind,
            resource,
            found,
            self._missing.get(key, ()),
            resource.status,
            datetime.now(UTC),
        )
        if status is None or not is_new(resource.status, status):
            await asyncio.sleep(0)  # of many, none keeps the others waiting
            return
        await self._write(key, status)

    async def _write(self, key: Dirty, status: Status) -> None:
        kind, namespace, name = key
        try:
            await self._client.patch(kind.kind, name, {"status": status}, namespace, part="status")
        except NotFoundError:
            _LOG.debug("%s %s/%s is gone, or its kind has no status", kind.word, namespace, name)
        except ForbiddenError as error:
            _LOG.warning("The status of resources may not be written: %s", error)
            await asyncio.sleep(_FORBIDDEN_SECONDS)
        except KubeError as error:
            _LOG.warning("The status of %s %s/%s: %s", kind.word, namespace, name, error)
            self._touch(key)
            await asyncio.sleep(_AGAIN_SECONDS)
        await asyncio.sleep(_WRITE_PAUSE_SECONDS)
