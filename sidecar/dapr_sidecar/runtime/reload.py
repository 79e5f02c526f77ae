"""Hot reload: what a source has now is compared with what is live, built, and swapped in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from dapr_common.kube.resources import Component, Configuration, HttpEndpoint, Resiliency
from dapr_common.kube.resources import Subscription as DeclaredSubscription
from dapr_common.observe.logs import get_logger
from dapr_sidecar.runtime.component_set import ComponentSet
from dapr_sidecar.runtime.configuration import enabled_features
from dapr_sidecar.runtime.resources import Key, Resources, Source, SourceError
from dapr_sidecar.runtime.statuses import StatusBook

_LOG = get_logger("dapr.runtime.hotreload")
_FOLLOW_AGAIN_SECONDS = 5.0
_Named = Component | HttpEndpoint | Resiliency | DeclaredSubscription


class Live(Protocol):
    """The sidecar, as far as it can change while it serves."""

    @property
    def component_set(self) -> ComponentSet: ...

    @property
    def configuration(self) -> Configuration: ...

    async def apply_configuration(self, configuration: Configuration) -> None:
        """Raises what is wrong with it; the one before stays then."""

    def swap_resources(self, resources: Resources) -> None:
        """Put the kinds that are no components in place of what was there."""


class HotReload:
    """Keeps a sidecar equal to its source, whichever that is.

    A version that cannot be brought up is reported and leaves what works working.
    """

    def __init__(
        self,
        source: Source,
        live: Live,
        statuses: StatusBook,
        loaded: Resources,
        refusals: tuple[type[Exception], ...],
    ) -> None:
        """``loaded`` is what the sidecar started with, ``refusals`` what a Configuration may be
        refused with.
        """
        self._source = source
        self._live = live
        self._statuses = statuses
        self._refusals = refusals
        self._seen = loaded

    async def run(self) -> None:
        """Follow the source until cancelled, or until the Configuration switches this off."""
        changed = asyncio.Event()
        following = asyncio.create_task(self._follow(changed), name="follow-resources")
        try:
            while self._is_on():
                await changed.wait()
                changed.clear()
                await self._reconcile_safely()
            _LOG.warning("HotReload is switched off: resources are read again at the next start")
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await self._live.component_set.close()

    async def _follow(self, changed: asyncio.Event) -> None:
        while True:
            try:
                await self._source.follow(changed)
            except Exception:  # noqa: BLE001 - the sidecar outlives a source that fails
                _LOG.exception("changes of resources are not noticed for a moment")
            await asyncio.sleep(_FOLLOW_AGAIN_SECONDS)

    def _is_on(self) -> bool:
        return "HotReload" in enabled_features(self._live.configuration)

    async def _reconcile_safely(self) -> None:
        try:
            await self.reconcile()
        except SourceError as error:
            _LOG.error("resources cannot be reloaded, the loaded ones stay: %s", error)
        except Exception:  # noqa: BLE001 - the sidecar outlives a reload that fails
            _LOG.exception("resources were not reloaded completely")

    async def reconcile(self) -> None:
        """Read once and apply the differences. Raises ``SourceError``."""
        found = self._source.read()
        before, self._seen = self._seen, found
        self._statuses.seen(found, unchanged(before, found))
        if found.configuration != before.configuration:
            await self._configure(found.configuration)
        self._live.component_set.reconcile(found.components, found.unreadable)
        self._live.swap_resources(found)

    async def _configure(self, configuration: Configuration) -> None:
        try:
            await self._live.apply_configuration(configuration)
        except self._refusals as error:
            _LOG.error("the running configuration stays: %s", error)
            self._statuses.set("Configuration", configuration.name, "failed", str(error))
        else:
            _LOG.info("Configuration %s is applied", configuration.name)
            self._statuses.set("Configuration", configuration.name, "loaded")


def unchanged(before: Resources, found: Resources) -> set[Key]:
    """The resources that say the same as before, whatever version they have."""
    pairs: Sequence[tuple[str, Iterable[_Named], Iterable[_Named]]] = (
        ("Component", before.components, found.components),
        ("Subscription", before.subscriptions, found.subscriptions),
        ("HTTPEndpoint", before.http_endpoints, found.http_endpoints),
        ("Resiliency", before.resiliencies, found.resiliencies),
    )
    same: set[Key] = set()
    for kind, old, new in pairs:
        known: Mapping[str, _Named] = {one.name: one for one in old}
        same |= {(kind, one.name) for one in new if one.name and known.get(one.name) == one}
    if before.configuration == found.configuration:
        same.add(("Configuration", found.configuration.name))
    return same
