"""Components from manifest to live: resolve, build, open, prepare, register; and the way back."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Mapping
from typing import Any, Protocol

from dapr_common.kube.resources import Component as Manifest
from dapr_common.kube.resources import SecretKeyRef
from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import Component, ComponentContext
from dapr_sidecar.components.metadata import SettingsError, decode_settings, unknown_names
from dapr_sidecar.components.middleware.base import HttpMiddleware
from dapr_sidecar.components.registry import UnknownComponentError, component_class
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.loaded import Loaded
from dapr_sidecar.runtime.binding_directions import directions
from dapr_sidecar.runtime.common_metadata import COMMON_NAMES
from dapr_sidecar.runtime.templates import TemplateError, ValueResolver

_LOG = get_logger("dapr.runtime.processor")
_CLOSE_SECONDS = 5.0
_RETIRE_SECONDS = 5.0


class InitError(Exception):
    """A component could not be brought up; the text is Dapr's, with the cause."""

    def __init__(self, manifest: Manifest, cause: object, *, reason: str = "init") -> None:
        shown = manifest.log_name
        super().__init__(
            f"[INIT_COMPONENT_FAILURE]: initialization error occurred for {shown}: {cause}"
        )
        self.manifest = manifest
        self.reason = reason
        self.loaded: list[Manifest] = []
        """What came up beside it all the same."""


class Preparer(Protocol):
    """A block that derives something from a component when it is loaded."""

    def prepare(self, manifest: Manifest, properties: dict[str, str]) -> object: ...


Retired = list[Loaded[Any]]
"""What no longer serves and is still open."""


class ComponentProcessor:
    """Owns the component part of ``LoadedComponents``."""

    def __init__(
        self,
        context: SidecarContext,
        resolver: ValueResolver,
        preparers: Mapping[str, Preparer],
        *,
        default_secret_store: str = "",
    ) -> None:
        self._context = context
        self._resolver = resolver
        self._preparers = preparers
        self._default_secret_store = default_secret_store
        self._parked: dict[str, dict[str, Manifest]] = {}
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

    async def load(self, manifest: Manifest) -> list[Manifest]:
        """Bring a component up, and what waited for it; gives what is live now because of it.

        Raises ``InitError`` unless the manifest ignores errors.
        """
        if self.is_denied(manifest):
            _LOG.debug("component %s is denied by the configuration", manifest.log_name)
            return []
        if store := self._missing_secret_store(manifest):
            self._park(store, manifest)
            return []
        try:
            await self._load(manifest)
        except InitError as error:
            self._context.metrics.component_failed(manifest.type, error.reason, manifest.name)
            if not manifest.ignore_errors:
                raise
            _LOG.error("Failed to init component %s: %s", manifest.log_name, error)
            return []
        if manifest.category != "secretstores":
            return [manifest]
        return [manifest, *await self._load_parked(manifest.name)]

    async def _load_parked(self, store: str) -> list[Manifest]:
        """Load what waited for a store; one that fails does not keep the others from it."""
        loaded: list[Manifest] = []
        failure: InitError | None = None
        for waiting in self._parked.pop(store, {}).values():
            try:
                loaded += await self.load(waiting)
            except InitError as error:
                failure = failure or error
        if failure is not None:
            failure.loaded = loaded
            raise failure
        return loaded

    def take_out(self, name: str) -> Retired:
        """Take a component out of service; the caller gives the result to ``retire``."""
        for waiting in self._parked.values():
            waiting.pop(name, None)
        manifest = self._manifests.pop(name, None)
        if manifest is None:
            return []
        return [table.pop(name) for table in self._tables(manifest.category) if name in table]

    async def replace(self, manifest: Manifest) -> Retired:
        """Put a new version in place of the live one; gives what to ``retire``.

        A new version that cannot be brought up leaves the old one working and raises.
        """
        if store := self._missing_secret_store(manifest):
            raise InitError(manifest, f"secret store {store} is not loaded")
        before = self._manifests.get(manifest.name)
        old = self._entries(before) if before is not None else []
        await self._load(manifest)
        new = self._entries(manifest)
        if before is not None and before.category != manifest.category:
            for table in self._tables(before.category):
                table.pop(manifest.name, None)
        return [entry for entry in old if all(entry is not kept for kept in new)]

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

    def forget_parked(self, wanted: Container[str]) -> None:
        """Drop waiting components whose manifests are gone."""
        for waiting in self._parked.values():
            for name in [name for name in waiting if name not in wanted]:
                del waiting[name]

    def warn_parked(self) -> None:
        """Say which components never loaded because their secret store never came."""
        for store, manifests in self._parked.items():
            for manifest in manifests.values():
                _LOG.warning(
                    "component %s is not loaded: secret store '%s' does not exist",
                    manifest.log_name,
                    store,
                )

    async def _load(self, manifest: Manifest) -> None:
        _LOG.info("Loading component: %s", manifest.log_name)
        try:
            kind = component_class(manifest.type, manifest.version)
        except UnknownComponentError as error:
            raise InitError(manifest, error, reason="creation") from error
        if manifest.category not in self._categories:
            raise InitError(manifest, f"incorrect type {manifest.type}", reason="creation")
        if not manifest.name:
            raise InitError(manifest, "a component needs metadata.name")
        try:
            async with asyncio.timeout(manifest.init_timeout.total_seconds()):
                properties = await self._properties(manifest)
                extra = self._prepare(manifest, properties)
                opened = await self._open(manifest, kind, properties)
        except (TemplateError, SettingsError) as error:
            raise InitError(manifest, error) from error
        except TimeoutError as error:
            seconds = manifest.init_timeout.total_seconds()
            raise InitError(
                manifest, f"init timeout for component exceeded after {seconds:g}s"
            ) from error
        except InitError:
            raise
        except Exception as error:
            raise InitError(manifest, error) from error
        self._register(manifest, opened, properties, extra)
        self._manifests[manifest.name] = manifest
        self._context.metrics.component_initialised(manifest.type)
        _LOG.info("Component loaded: %s", manifest.log_name)

    async def _properties(self, manifest: Manifest) -> dict[str, str]:
        store = manifest.secret_store or self._default_secret_store
        cache: dict[str, Mapping[str, str]] = {}

        async def lookup(name: str, key: str) -> str | None:
            loaded = self._context.components.secret_stores.get(store)
            if loaded is None:
                return None
            if name not in cache:
                try:
                    found = await loaded.component.get(name, {"namespace": manifest.namespace})
                except Exception as error:  # noqa: BLE001 - Dapr's rule: logged, item unset
                    _LOG.error("Error getting secret %s of %s: %s", name, store, error)
                    found = None
                cache[name] = found or {}
            return cache[name].get(key) or None

        properties = await self._resolver.resolve(manifest.metadata, lookup if store else None)
        if manifest.category == "pubsub":
            consumer = properties.get("consumerid", "").strip()
            properties["consumerid"] = consumer or self._context.identity.app_id
        return properties

    def _prepare(self, manifest: Manifest, properties: dict[str, str]) -> object:
        preparer = self._preparers.get(manifest.category)
        return None if preparer is None else preparer.prepare(manifest, properties)

    async def _open(
        self, manifest: Manifest, kind: type[Component], properties: dict[str, str]
    ) -> list[Component]:
        settings = decode_settings(kind.settings, properties)
        known_elsewhere = COMMON_NAMES.get(manifest.category, frozenset())
        given = [entry.name for entry in manifest.metadata]
        for name, near in unknown_names(kind.settings, given).items():
            if near is not None and name.lower() not in known_elsewhere:
                _LOG.warning(
                    "component %s: metadata field '%s' is not known, did you mean '%s'?",
                    manifest.log_name,
                    name,
                    near,
                )
        identity = self._context.identity
        context = ComponentContext(
            manifest.name, identity.app_id, identity.namespace, dict(properties)
        )
        count = len(directions(kind, properties)) if manifest.category == "bindings" else 1
        instances = [kind(settings, context) for _ in range(count)]
        opened: list[Component] = []
        try:
            for instance in instances:
                opened.append(instance)
                await instance.open()
        except BaseException:
            for instance in opened:
                await _close_quietly(instance)
            raise
        return opened

    def _register(
        self,
        manifest: Manifest,
        instances: list[Component],
        properties: dict[str, str],
        extra: object,
    ) -> None:
        tables = self._tables(manifest.category)
        if manifest.category == "bindings":
            wanted = directions(type(instances[0]), properties)
            chosen = [t for t, d in zip(tables, ("input", "output"), strict=True) if d in wanted]
            for table, name in zip(tables, ("input", "output"), strict=True):
                if name not in wanted:
                    table.pop(manifest.name, None)
            tables = chosen
        for table, instance in zip(tables, instances, strict=True):
            table[manifest.name] = Loaded(manifest, instance, properties, extra)

    def _tables(self, category: str) -> list[dict[str, Any]]:
        return self._categories[category]

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

    def _park(self, store: str, manifest: Manifest) -> None:
        waiting = self._parked.setdefault(store, {})
        if waiting.get(manifest.name) != manifest:
            _LOG.warning(
                "component %s waits for secret store %s, which is not loaded",
                manifest.log_name,
                store,
            )
        waiting[manifest.name] = manifest

    def _entries(self, manifest: Manifest) -> list[Loaded[Component]]:
        tables = self._tables(manifest.category)
        return [table[manifest.name] for table in tables if manifest.name in table]

    def _missing_secret_store(self, manifest: Manifest) -> str:
        store = manifest.secret_store or self._default_secret_store
        needed = any(
            isinstance(entry.secret_key_ref, SecretKeyRef) and entry.value is None
            for entry in manifest.metadata
        )
        return store if needed and store and store not in self._live_secret_stores() else ""

    def _live_secret_stores(self) -> Mapping[str, object]:
        return self._context.components.secret_stores

    async def _retire(self, entry: Loaded[Component]) -> None:
        try:
            await asyncio.sleep(_RETIRE_SECONDS)
        finally:
            await self._close(entry)

    async def _close(self, entry: Loaded[Component]) -> None:
        _LOG.info("Shutting down component %s", entry.manifest.log_name)
        await _close_quietly(entry.component)


async def _close_quietly(component: Component) -> None:
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await component.close()
    except Exception as error:  # noqa: BLE001 - a dead peer must not keep the sidecar alive
        _LOG.warning("error closing component: %s", error)
