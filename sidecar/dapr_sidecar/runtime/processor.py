"""The live components: put in place, replaced, taken out of service, closed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from dapr_common.kube.resources import Component as Manifest
from dapr_common.kube.resources import SecretKeyRef
from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import Component
from dapr_sidecar.components.finding import ComponentFinder
from dapr_sidecar.components.middleware.base import HttpMiddleware
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.loaded import Loaded
from dapr_sidecar.runtime.binding_directions import directions
from dapr_sidecar.runtime.opening import (
    ComponentOpener,
    InitError,
    Opened,
    Preparer,
    close_quietly,
)
from dapr_sidecar.runtime.templates import ValueResolver

_LOG = get_logger("dapr.runtime.processor")
_RETIRE_SECONDS = 5.0

Retired = list[Loaded[Any]]
"""What no longer serves and is still open."""


class MissingSecretStoreError(Exception):
    """A component waits for this secret store, which is not loaded."""

    def __init__(self, store: str) -> None:
        super().__init__(f"secret store '{store}' is not loaded")
        self.store = store


class ComponentProcessor:
    """Owns the component part of ``LoadedComponents``."""

    def __init__(
        self,
        context: SidecarContext,
        resolver: ValueResolver,
        preparers: Mapping[str, Preparer],
        *,
        default_secret_store: str = "",
        finder: ComponentFinder | None = None,
    ) -> None:
        """Without a ``finder`` there are the sidecar's own components only."""
        self._context = context
        self._opener = ComponentOpener(
            context, resolver, preparers, default_secret_store, finder or ComponentFinder()
        )
        self._default_secret_store = default_secret_store
        self._retiring: set[asyncio.Task[None]] = set()
        self._manifests: dict[str, Manifest] = {}
        self.middlewares: dict[str, Loaded[HttpMiddleware]] = {}

    @property
    def manifests(self) -> Mapping[str, Manifest]:
        """Manifests by name, of everything that is live."""
        return self._manifests

    def is_denied(self, manifest: Manifest) -> bool:
        """Whether Configuration ``spec.components.deny`` names the type."""
        components: Any = self._context.configuration.get("components") or {}
        denied = {str(entry).lower() for entry in components.get("deny") or []}
        kind = manifest.type.lower()
        return kind in denied or f"{kind}/{manifest.version.lower() or 'v1'}" in denied

    async def load(self, manifest: Manifest) -> Retired:
        """Put a component in place of the one of that name, if any; gives what to ``retire``.

        Raises ``MissingSecretStoreError`` or ``InitError``; what was live before goes on then.
        """
        if store := self._missing_secret_store(manifest):
            raise MissingSecretStoreError(store)
        _LOG.info("Loading component: %s", manifest.log_name)
        try:
            opened = await self._opener.open(manifest, self._categories)
        except InitError as error:
            self._context.metrics.component_failed(manifest.type, error.reason, manifest.name)
            raise
        retired = self._put(manifest, opened)
        self._context.metrics.component_initialised(manifest.type)
        _LOG.info("Component loaded: %s", manifest.log_name)
        return retired

    def take_out(self, name: str) -> Retired:
        """Take a component out of service; the caller gives the result to ``retire``."""
        manifest = self._manifests.pop(name, None)
        if manifest is None:
            return []
        tables = self._categories[manifest.category]
        return [table.pop(name) for table in tables if name in table]

    def retire(self, entries: Retired) -> None:
        """Close what was taken out of service, once the calls that still use it had time to end."""
        for entry in entries:
            task = asyncio.create_task(self._retire(entry), name=f"retire {entry.manifest.name}")
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def close(self) -> None:
        """Close everything, in parallel."""
        entries = [e for m in self._manifests.values() for e in self._entries(m)]
        self._manifests.clear()
        retiring = list(self._retiring)
        for task in retiring:
            task.cancel()
        await asyncio.gather(*(self._close(entry) for entry in entries))
        await asyncio.gather(*retiring, return_exceptions=True)

    # --- tables -----------------------------------------------------------------------------

    def _put(self, manifest: Manifest, opened: Opened) -> Retired:
        before = self._manifests.get(manifest.name)
        old = self._entries(before) if before is not None else []
        self._register(manifest, opened)
        if before is not None and before.category != manifest.category:
            for table in self._categories[before.category]:
                table.pop(manifest.name, None)
        self._manifests[manifest.name] = manifest
        new = self._entries(manifest)
        return [entry for entry in old if all(entry is not kept for kept in new)]

    def _register(self, manifest: Manifest, opened: Opened) -> None:
        tables, instances = self._categories[manifest.category], opened.instances
        if manifest.category == "bindings":
            wanted = directions(type(instances[0]), opened.properties)
            chosen = [t for t, d in zip(tables, ("input", "output"), strict=True) if d in wanted]
            for table, name in zip(tables, ("input", "output"), strict=True):
                if name not in wanted:
                    table.pop(manifest.name, None)
            tables = chosen
        for table, instance in zip(tables, instances, strict=True):
            table[manifest.name] = Loaded(manifest, instance, opened.properties, opened.extra)

    @property
    def _categories(self) -> Mapping[str, list[dict[str, Any]]]:
        live = self._context.components
        return {
            "state": [live.state],
            "pubsub": [live.pubsub],
            "bindings": [live.input_bindings, live.output_bindings],
            "secretstores": [live.secret_stores],
            "configuration": [live.configuration],
            "lock": [live.locks],
            "crypto": [live.crypto],
            "middleware": [self.middlewares],
        }

    def _entries(self, manifest: Manifest) -> list[Loaded[Component]]:
        tables = self._categories[manifest.category]
        return [table[manifest.name] for table in tables if manifest.name in table]

    def _missing_secret_store(self, manifest: Manifest) -> str:
        store = manifest.secret_store or self._default_secret_store
        needed = any(
            isinstance(entry.secret_key_ref, SecretKeyRef) and entry.value is None
            for entry in manifest.metadata
        )
        return store if needed and store not in self._context.components.secret_stores else ""

    # --- ends -------------------------------------------------------------------------------

    async def _retire(self, entry: Loaded[Component]) -> None:
        try:
            await asyncio.sleep(_RETIRE_SECONDS)
        finally:
            await self._close(entry)

    async def _close(self, entry: Loaded[Component]) -> None:
        _LOG.info("Shutting down component %s", entry.manifest.log_name)
        await close_quietly(entry.component)
