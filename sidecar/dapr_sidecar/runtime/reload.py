"""Hot reload: read again, find what changed, build it, swap it in, drain what it replaces."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from dapr_common.kube.resources import Component
from dapr_common.observe.logs import get_logger
from dapr_sidecar.runtime.disk import DuplicateResourceError, Resources
from dapr_sidecar.runtime.processor import ComponentProcessor, InitError

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
        interval: float,
    ) -> None:
        self._read = read
        self._processor = processor
        self._swap_others = swap_others
        self._component_changed = component_changed
        self._interval = interval
        self._failed: dict[str, Component] = {}

    async def watch(self, directories: Sequence[str]) -> None:
        """Follow the directories until cancelled; a full read now and then backs the events up."""
        with contextlib.ExitStack() as stack:
            changed = stack.enter_context(_watching(directories))
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._interval):
                        await changed.wait()
                await asyncio.sleep(_SETTLE_SECONDS)
                changed.clear()
                await self.reconcile()

    async def reconcile(self) -> None:
        """Read everything once and apply the differences: deletes, updates, creates."""
        try:
            found = self._read()
        except (OSError, DuplicateResourceError) as error:
            _LOG.error("resources cannot be reloaded, the loaded ones stay: %s", error)
            return
        wanted = {manifest.name: manifest for manifest in found.components}
        live = dict(self._processor.manifests)
        for name in live.keys() - wanted.keys():
            await self._processor.unload(name)
            await self._component_changed(live[name])
            _LOG.info("Component deleted: %s", live[name].log_name)
        for name, manifest in wanted.items():
            if name in live and _same(live[name], manifest):
                self._failed.pop(name, None)
            elif (failed := self._failed.get(name)) is None or not _same(failed, manifest):
                await self._apply(manifest, update=name in live)
        await self._swap_others(found)

    async def _apply(self, manifest: Component, *, update: bool) -> None:
        self._failed.pop(manifest.name, None)
        if self._processor.is_denied(manifest):
            return
        try:
            if update:
                await self._processor.replace(manifest)
            else:
                await self._processor.load(manifest)
        except InitError as error:
            self._failed[manifest.name] = manifest
            _LOG.error(
                "%s; %s", error, "the version before stays in use" if update else "it is not loaded"
            )
            return
        await self._component_changed(manifest)


def _same(one: Component, other: Component) -> bool:
    return dataclasses.replace(one, source="") == dataclasses.replace(other, source="")


@contextlib.contextmanager
def _watching(directories: Sequence[str]) -> Iterator[asyncio.Event]:
    from inotify_simple import INotify, flags

    changed = asyncio.Event()
    watcher = INotify(nonblocking=True)
    mask = flags.CLOSE_WRITE | flags.MOVED_TO | flags.MOVED_FROM | flags.DELETE | flags.CREATE
    for directory in directories:
        watcher.add_watch(str(Path(directory)), mask)

    def readable() -> None:
        watcher.read(timeout=0)
        changed.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(watcher.fd, readable)
    try:
        yield changed
    finally:
        loop.remove_reader(watcher.fd)
        watcher.close()
