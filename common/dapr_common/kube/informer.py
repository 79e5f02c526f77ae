"""Objects of a cluster, kept at hand: listed once, then followed by a watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar

from dapr_common.grpc.backoff import Backoff
from dapr_common.kube.api_errors import ExpiredError, KubeError
from dapr_common.kube.client import KubeClient, WatchEvent
from dapr_common.kube.kinds import KubeObject, Selection
from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.kube")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0

T = TypeVar("T")
Key = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """One object before and after; ``None`` where it is not there."""

    key: Key
    before: T | None
    after: T | None


class Informer(Generic[T]):
    """A cache of a selection, as what ``convert`` makes of each object.

    ``run`` keeps it up to date until cancelled; ``synced`` is set once it holds a whole list. While
    the API server cannot be reached the cache stays as it was.
    """

    def __init__(
        self, client: KubeClient, selection: Selection, convert: Callable[[KubeObject], T]
    ) -> None:
        self.synced = asyncio.Event()
        self._client = client
        self._selection = selection
        self._convert = convert
        self._objects: dict[Key, T] = {}
        self._handlers: list[Callable[[Change[T]], None]] = []

    @property
    def objects(self) -> Mapping[Key, T]:
        """Everything there is, by namespace and name."""
        return MappingProxyType(self._objects)

    def get(self, name: str, namespace: str = "") -> T | None:
        """One object, if there is one."""
        return self._objects.get((namespace, name))

    def on_change(self, handler: Callable[[Change[T]], None]) -> None:
        """Call ``handler`` for every change from now on, also for those of the first list."""
        self._handlers.append(handler)

    async def run(self) -> None:
        """Follow the cluster until cancelled, whatever happens: nobody would notice its end."""
        while True:
            try:
                await self._follow()
            except Exception:  # noqa: BLE001 - logged, and begun anew
                _LOG.exception("%s: following them failed and begins anew", self._selection)
            await asyncio.sleep(_LONGEST_PAUSE)

    async def _follow(self) -> None:
        async with aclosing(list_and_watch(self._client, self._selection)) as events:
            async for event in events:
                if isinstance(event, WatchEvent):
                    self._apply(event)
                else:
                    self._replace(event)
                    self.synced.set()

    def _apply(self, event: WatchEvent) -> None:
        if event.kind == "DELETED":
            self._set(_key(event.object), None)
        elif event.kind != "BOOKMARK":
            self._set(_key(event.object), self._converted(event.object))

    def _replace(self, listed: tuple[KubeObject, ...]) -> None:
        found = {_key(body): self._converted(body) for body in listed}
        for key in [key for key in self._objects if key not in found]:
            self._set(key, None)
        for key, after in found.items():
            self._set(key, after)

    def _converted(self, body: KubeObject) -> T | None:
        try:
            return self._convert(body)
        except Exception as error:  # noqa: BLE001 - one object must not end the watch of all
            _LOG.warning("%s: %s/%s is left out: %s", self._selection, *_key(body), error)
            return None

    def _set(self, key: Key, after: T | None) -> None:
        before = self._objects.pop(key, None)
        if after is not None:
            self._objects[key] = after
        if before == after:
            return
        for handler in self._handlers:
            try:
                handler(Change(key, before, after))
            except Exception:  # noqa: BLE001 - its defect must not end the watch
                _LOG.exception("%s: a change of %s/%s was not handled", self._selection, *key)


async def list_and_watch(
    client: KubeClient, selection: Selection
) -> AsyncGenerator[tuple[KubeObject, ...] | WatchEvent, None]:
    """A whole list, then each event; again a list whenever events may have been missed.

    Failures are logged and tried again with pauses, until cancelled.
    """
    loop = asyncio.get_running_loop()
    backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE, factor=2.0)
    version = ""
    while True:
        began = loop.time()
        try:
            if not version:
                listing = await client.list_all(selection)
                yield listing.items
                version = listing.resource_version
            async with aclosing(client.watch(selection, version)) as events:
                async for event in events:
                    version = event.resource_version
                    yield event
        except ExpiredError as error:
            _LOG.debug("%s are listed again: %s", selection, error)
            version = ""
        except KubeError as error:
            _LOG.warning("%s cannot be followed at the moment: %s", selection, error)
        if loop.time() - began > _LONGEST_PAUSE:
            backoff.reset()
        await asyncio.sleep(backoff.next())


def _key(body: KubeObject) -> Key:
    metadata = body["metadata"]
    return str(metadata.get("namespace") or ""), str(metadata["name"])
