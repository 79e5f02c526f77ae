"""Hot reload: read again, find what changed, build it, swap it in, drain what it replaces."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Sequence

from dapr_common.aio.watch import watching
from dapr_common.kube.resources import Component, Configuration
from dapr_common.observe.logs import get_logger
from dapr_sidecar.runtime.disk import DuplicateResourceError, Resources
from dapr_sidecar.runtime.processor import ComponentProcessor, InitError, Retired

_LOG = get_logger("dapr.runtime.hotreload")
_SETTLE_SECONDS = 0.005

Read = Callable[[], Resources]
Swap = Callable[[Resources], Awaitable[None]]


class HotReload:
    """Keeps the live resources equal to what ``read`` finds.

    A version that cannot be brought up is reported and leaves what works working.
    """

    def __init__(
        self,
        read: Read,
        processor: ComponentProcessor,
        *,
        swap_others: Swap,
        component_changed: Callable[[Component], Awaitable[None]],
        configuration_changed: Callable[[], None],
        active_configuration: str,
        loaded: Resources,
        interval: float,
    ) -> None:
        """``loaded`` is what the sidecar started with, ``active_configuration`` a name.

        ``interval`` is in seconds.
        """
        self._read = read
        self._processor = processor
        self._swap_others = swap_others
        self._component_changed = component_changed
        self._configuration_changed = configuration_changed
        self._active_configuration = active_configuration
        self._interval = interval
        self._failed: dict[str, Component] = {}
        self._configurations = self._relevant(loaded)

    async def watch(self, directories: Sequence[str]) -> None:
        """Follow the directories until cancelled; a full read now and then backs the events up."""
        changed = asyncio.Event()
        with watching(changed, _LOG) as follow:
            follow(directories)
            changed.set()  # what changed between the first read and this moment
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._interval):
                        await changed.wait()
                await asyncio.sleep(_SETTLE_SECONDS)
                changed.clear()
                follow(directories)
                try:
                    await self.reconcile()
                except Exception:  # noqa: BLE001 - the sidecar outlives a reload that fails
                    _LOG.exception("resources were not reloaded completely")

    async def reconcile(self) -> None:
        """Read everything once and apply the differences: deletes, updates, creates."""
        try:
            found = self._read()
        except (OSError, DuplicateResourceError) as error:
            _LOG.error("resources cannot be reloaded, the loaded ones stay: %s", error)
            return
        self._compare_configurations(found)
        processor = self._processor
        wanted = {
            manifest.name: manifest
            for manifest in sorted(found.components, key=secret_stores_first)
            if not processor.is_denied(manifest)
        }
        for name, manifest in list(processor.manifests.items()):
            if name not in wanted:
                retired = processor.take_out(name)
                try:
                    await self._component_changed(manifest)
                finally:
                    processor.retire(retired)
                _LOG.info("Component deleted: %s", manifest.log_name)
        for name in self._failed.keys() - wanted.keys():
            del self._failed[name]
        processor.forget_parked(wanted)
        for name, manifest in wanted.items():
            live = processor.manifests.get(name)
            if live is not None and _same(live, manifest):
                self._failed.pop(name, None)
            elif (failed := self._failed.get(name)) is None or not _same(failed, manifest):
                await self._apply(manifest, live)
        await self._swap_others(found)

    def _compare_configurations(self, found: Resources) -> None:
        before, self._configurations = self._configurations, self._relevant(found)
        if before != self._configurations:
            self._configuration_changed()

    def _relevant(self, resources: Resources) -> list[Configuration]:
        return [c for c in resources.configurations if c.name == self._active_configuration]

    async def _apply(self, manifest: Component, live: Component | None) -> None:
        self._failed.pop(manifest.name, None)
        processor = self._processor
        try:
            if live is None:
                loaded, retired = await processor.load(manifest), Retired()
            else:
                loaded, retired = [manifest], await processor.replace(manifest)
        except InitError as error:
            self._failed[error.manifest.name] = error.manifest
            for component in error.loaded:
                await self._component_changed(component)
            after = "it is not loaded" if live is None else "the version before stays in use"
            _LOG.error("%s; %s", error, after)
            return
        try:
            if live is not None and live.category != manifest.category:
                await self._component_changed(live)
            for component in loaded:
                await self._component_changed(component)
        finally:
            processor.retire(retired)


def secret_stores_first(manifest: Component) -> int:
    """A sort key: what others may wait for comes up first."""
    return 0 if manifest.category == "secretstores" else 1


def _same(one: Component, other: Component) -> bool:
    return dataclasses.replace(one, source="") == dataclasses.replace(other, source="")
