"""One component from manifest to open: class, values, settings, ``open``."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from dapr_common.kube.resources import Component as Manifest
from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import Component, ComponentContext
from dapr_sidecar.components.finding import ComponentFinder
from dapr_sidecar.components.metadata import decode_settings, describe_settings, unknown_names
from dapr_sidecar.components.registry import UnknownComponentError
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.runtime.binding_directions import directions
from dapr_sidecar.runtime.common_metadata import COMMON_NAMES, SECRET_NAMES
from dapr_sidecar.runtime.templates import ValueResolver

_LOG = get_logger("dapr.runtime.processor")
_CLOSE_SECONDS = 5.0
_SHORTEST_SECRET, _SHORTEST_PART = 4, 6  # shorter: half of a message is gone, nothing is hidden
_PART = re.compile(r"[^\w-]+")


class InitError(Exception):
    """A component could not be brought up; the text is Dapr's, with the cause."""

    def __init__(self, manifest: Manifest, cause: object, *, reason: str = "init") -> None:
        shown = manifest.log_name
        super().__init__(
            f"[INIT_COMPONENT_FAILURE]: initialization error occurred for {shown}: {cause}"
        )
        self.manifest = manifest
        self.cause = str(cause)
        self.reason = reason


class Preparer(Protocol):
    """A block that derives something from a component when it is loaded."""

    def prepare(self, manifest: Manifest, properties: dict[str, str]) -> object: ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A component that works. A binding that goes both ways is two instances."""

    instances: list[Component]
    properties: dict[str, str]
    extra: object
    """What the block prepared."""


class ComponentOpener:
    """Opens components, each within its init timeout."""

    def __init__(
        self,
        context: SidecarContext,
        resolver: ValueResolver,
        preparers: Mapping[str, Preparer],
        default_secret_store: str,
        finder: ComponentFinder,
    ) -> None:
        self._finder = finder
        self._context = context
        self._resolver = resolver
        self._preparers = preparers
        self._default_secret_store = default_secret_store

    async def open(self, manifest: Manifest, categories: Container[str]) -> Opened:
        """Raises ``InitError``, whose text has no secret in it."""
        try:
            source = self._finder.source(manifest)
        except UnknownComponentError as error:
            raise InitError(manifest, error, reason="creation") from error
        if manifest.category not in categories:
            raise InitError(manifest, f"incorrect type {manifest.type}", reason="creation")
        if not manifest.name:
            raise InitError(manifest, "a component needs metadata.name")
        properties: dict[str, str] = {}
        kind: type[Component] | None = None
        try:
            async with asyncio.timeout(manifest.init_timeout.total_seconds()):
                properties = await self._properties(manifest)
                kind = await source.kind(properties)
                preparer = self._preparers.get(manifest.category)
                extra = preparer.prepare(manifest, properties) if preparer is not None else None
                instances = await self._open(manifest, kind, properties)
        except TimeoutError as error:
            seconds = manifest.init_timeout.total_seconds()
            late = f"init timeout for component exceeded after {seconds:g}s"
            missing = source.missing if kind is None else ""
            cause = f"{missing} ({late})" if missing else late
            raise InitError(manifest, cause) from error
        except UnknownComponentError as error:
            raise InitError(manifest, error, reason="creation") from error
        except Exception as error:
            cause = _without(str(error), _secrets(manifest, kind, properties))
            raise InitError(manifest, cause) from error
        return Opened(instances, properties, extra)

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

    async def _open(
        self, manifest: Manifest, kind: type[Component], properties: dict[str, str]
    ) -> list[Component]:
        settings = decode_settings(kind.settings, properties)
        _warn_unknown(manifest, kind)
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
                await close_quietly(instance)
            raise
        return opened


async def close_quietly(component: Component) -> None:
    """Close; what goes wrong is logged."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await component.close()
    except Exception as error:  # noqa: BLE001 - a dead peer must not keep the sidecar alive
        _LOG.warning("error closing component: %s", error)


def _warn_unknown(manifest: Manifest, kind: type[Component]) -> None:
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


def _secrets(
    manifest: Manifest, kind: type[Component] | None, properties: Mapping[str, str]
) -> Iterable[str]:
    """Values that came from a secret store, and those of settings that are secret."""
    names = {entry.name.lower() for entry in manifest.metadata if entry.secret_key_ref is not None}
    names |= SECRET_NAMES
    for info in describe_settings(kind.settings) if kind is not None else ():
        if info.secret:
            names.update(name.lower() for name in info.names)
    return [properties[name] for name in names if name in properties]


def _without(text: str, secrets: Iterable[str]) -> str:
    """Secrets and their parts hidden: an error likes to name a piece of what it was given."""
    hidden = {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}
    for secret in list(hidden):
        hidden.update(part for part in _PART.split(secret) if len(part) >= _SHORTEST_PART)
    for secret in sorted(hidden, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
