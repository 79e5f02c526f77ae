"""Brings about the components that are wanted: one task per name, the latest wish wins."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType

from dapr_common.grpc.backoff import Backoff
from dapr_common.kube.resources import Component
from dapr_common.observe.logs import get_logger
from dapr_sidecar.runtime.opening import InitError
from dapr_sidecar.runtime.processor import ComponentProcessor, MissingSecretStoreError, Retired
from dapr_sidecar.runtime.statuses import StatusBook

_LOG = get_logger("dapr.runtime.hotreload")
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 2.0, 60.0
_KIND = "Component"
_NOTHING: Mapping[str, str] = MappingProxyType({})

Changed = Callable[[Component], Awaitable[None]]
"""Told of a component that came, changed or went, before the old one is closed."""


class _Wish:
    """What is wanted of one name, and how far that is."""

    def __init__(self, manifest: Component) -> None:
        self.manifest = manifest
        self.settled: Component | None = None
        """The manifest that is live, or waits for its secret store."""
        self.waits_for = ""
        self.failure: InitError | None = None
        self.woken = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS, factor=2.0)


class ComponentSet:
    """A version that cannot be brought up is reported, and tried again now and then; what was live
    before goes on meanwhile. One that takes long to come up, or to fail, holds no other up.
    """

    def __init__(
        self, processor: ComponentProcessor, statuses: StatusBook, changed: Changed
    ) -> None:
        self._processor = processor
        self._statuses = statuses
        self._changed = changed
        self._wishes: dict[str, _Wish] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._missing_since_start: set[str] = set()
        self._unreadable: Mapping[str, str] = {}
        self.on_missing: Callable[[Mapping[str, str]], None] = lambda _: None
        """Told which required components never worked since the start, and why."""

    async def load(
        self,
        wanted: Sequence[Component],
        unreadable: Mapping[str, str] = _NOTHING,
        *,
        strict: bool,
    ) -> None:
        """The components of the start, secret stores first, one after the other.

        ``unreadable`` are required ones that are missing in ``wanted``, and why. Raises
        ``InitError`` when ``strict`` and one fails that does not ignore errors.
        """
        self._unreadable = unreadable
        self._missing_since_start.update(unreadable)
        waiting = deque(sorted(self._allowed(wanted), key=_secret_stores_first))
        while waiting:
            manifest = waiting.popleft()
            wish = self._wishes[manifest.name] = _Wish(manifest)
            await self._attempt(wish)
            if wish.failure is None:
                waiting.extendleft(one.manifest for one in self._waiting_for(manifest))
                continue
            if strict and not manifest.ignore_errors:
                raise wish.failure
            _log_failure(wish.failure, live=False)
            self._missing_since_start.add(manifest.name)
        for wish in self._wishes.values():
            if wish.waits_for:
                text = "component %s is not loaded: secret store '%s' does not exist"
                _LOG.warning(text, wish.manifest.log_name, wish.waits_for)
        self._tell_missing()

    def reconcile(
        self, wanted: Sequence[Component], unreadable: Mapping[str, str] = _NOTHING
    ) -> None:
        """Want these and no others. Those that go serve no more; the rest comes about."""
        self._unreadable = unreadable
        named = {manifest.name: manifest for manifest in self._allowed(wanted)}
        for name in [name for name in self._wishes if name not in named]:
            self._remove(name)
        self._statuses.keep(_KIND, named)
        for manifest in sorted(named.values(), key=_secret_stores_first):
            wish = self._wishes.get(manifest.name)
            if wish is None:
                wish = self._wishes[manifest.name] = _Wish(manifest)
            elif not is_same(wish.manifest, manifest):
                self._want(wish, manifest)
            elif wish.settled is wish.manifest or wish.task is not None:
                continue
            self._wake(wish)
        self._tell_missing()

    def _want(self, wish: _Wish, manifest: Component) -> None:
        wish.manifest = manifest
        wish.backoff.reset()
        live = self._processor.manifests.get(manifest.name)
        if live is not None and is_same(live, manifest):  # what never came up is taken back
            wish.manifest = wish.settled = live
            wish.failure = None
            self._statuses.set(_KIND, manifest.name, "loaded")

    async def close(self) -> None:
        """End what is under way; the live components stay."""
        tasks = [wish.task for wish in self._wishes.values() if wish.task is not None]
        tasks += self._leaving
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _allowed(self, wanted: Sequence[Component]) -> list[Component]:
        return [manifest for manifest in wanted if not self._processor.is_denied(manifest)]

    # --- one name ---------------------------------------------------------------------------

    def _wake(self, wish: _Wish) -> None:
        wish.woken.set()
        if wish.task is None:
            name = f"component {wish.manifest.name}"
            wish.task = asyncio.create_task(self._settle(wish), name=name)

    async def _settle(self, wish: _Wish) -> None:
        """Try until what is wanted is there."""
        try:
            while wish.settled is not wish.manifest:
                if wish.failure is not None and not wish.woken.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(wish.backoff.next()):
                            await wish.woken.wait()
                wish.woken.clear()
                if wish.settled is not wish.manifest:
                    await self._change(wish)
        except Exception:  # noqa: BLE001 - the sidecar outlives a reload that fails
            _LOG.exception("component %s was not reloaded", wish.manifest.log_name)
        finally:
            wish.task = None

    async def _change(self, wish: _Wish) -> None:
        manifest, before = wish.manifest, wish.failure
        live = self._processor.manifests.get(manifest.name)
        retired = await self._attempt(wish)
        if retired is not None:
            await self._swapped(manifest, live, retired)
            for waiting in self._waiting_for(manifest):
                waiting.settled = None
                self._wake(waiting)
        elif wish.failure is not None and str(wish.failure) != str(before):
            _log_failure(wish.failure, live=live is not None)
        self._tell_missing()

    async def _attempt(self, wish: _Wish) -> Retired | None:
        """Bring a component up, once; gives what it replaces, or ``None`` when it did not."""
        manifest = wish.manifest
        live = manifest.name in self._processor.manifests
        if not live and wish.failure is None:
            self._statuses.set(_KIND, manifest.name, "pending")
        try:
            retired = await self._processor.load(manifest)
        except MissingSecretStoreError as error:
            wish.settled, wish.failure, wish.waits_for = manifest, None, error.store
            _LOG.warning("component %s waits: %s", manifest.log_name, error)
            self._statuses.set(_KIND, manifest.name, "pending", f"waits: {error}")
            return None
        except InitError as error:
            wish.failure = error
            text = f"{error.cause}; {_after(live=live)}"
            self._statuses.set(_KIND, manifest.name, "failed", text)
            return None
        wish.settled, wish.failure, wish.waits_for = manifest, None, ""
        self._statuses.set(_KIND, manifest.name, "loaded")
        return retired

    def _waiting_for(self, manifest: Component) -> list[_Wish]:
        if manifest.category != "secretstores":
            return []
        return [wish for wish in self._wishes.values() if wish.waits_for == manifest.name]

    async def _swapped(self, manifest: Component, live: Component | None, retired: Retired) -> None:
        """Tell who uses it; only then what was replaced may be closed."""
        try:
            if live is not None and live.category != manifest.category:
                await self._changed(live)
            await self._changed(manifest)
        except Exception:  # noqa: BLE001 - the sidecar outlives a reload that fails
            _LOG.exception("component %s was not put in place completely", manifest.log_name)
        finally:
            self._processor.retire(retired)

    def _remove(self, name: str) -> None:
        wish = self._wishes.pop(name)
        if wish.task is not None:
            wish.task.cancel()
            self._leave(wish.task)
        live = self._processor.manifests.get(name)
        retired = self._processor.take_out(name)
        if live is not None:
            _LOG.info("Component deleted: %s", live.log_name)
            swapped = self._swapped(live, None, retired)
            self._leave(asyncio.create_task(swapped, name=f"without {name}"))
        self._tell_missing()

    def _leave(self, task: asyncio.Task[None]) -> None:
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _tell_missing(self) -> None:
        if not self._missing_since_start:
            return
        causes = {name: self._why_missing(name) for name in sorted(self._missing_since_start)}
        shown = {name: cause for name, cause in causes.items() if cause}
        self._missing_since_start.intersection_update(shown)
        self.on_missing(shown)

    def _why_missing(self, name: str) -> str:
        """What is in the way of a required component; empty when nothing is."""
        if name in self._unreadable:
            return self._unreadable[name]
        wish = self._wishes.get(name)
        if wish is None or wish.manifest.ignore_errors or name in self._processor.manifests:
            return ""
        if wish.failure is not None:
            return wish.failure.cause
        return "" if wish.settled is wish.manifest else "it is being loaded"


def _log_failure(error: InitError, *, live: bool) -> None:
    shown = error.manifest.log_name
    _LOG.error("Failed to init component %s: %s; %s", shown, error, _after(live=live))


def _after(*, live: bool) -> str:
    return "the version before stays in use" if live else "it is not loaded"


def is_same(one: Component, other: Component) -> bool:
    """Whether two manifests say the same, wherever they were read."""
    return dataclasses.replace(one, source="") == dataclasses.replace(other, source="")


def _secret_stores_first(manifest: Component) -> int:
    """A sort key: what others may wait for comes up first."""
    return 0 if manifest.category == "secretstores" else 1
