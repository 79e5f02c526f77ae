"""Which state store keeps the actors' state."""

from __future__ import annotations

from typing import Protocol

from dapr_common.kube import resources
from dapr_common.words import is_truthy
from dapr_sidecar.components.state.base import Feature, StateStore
from dapr_sidecar.loaded import Loaded, LoadedComponents

_MARK = "actorstatestore"
_NEEDED = frozenset({Feature.ETAG, Feature.TRANSACTIONAL})


class Preparer(Protocol):
    """Derives something from a component when it is loaded."""

    def prepare(self, manifest: resources.Component, properties: dict[str, str]) -> object: ...


class SecondActorStoreError(Exception):
    """Two state stores both claim the actors' state; the text says which and what to do."""


def claims_actors(properties: dict[str, str]) -> bool:
    """Whether a component's metadata (lower-cased names) makes it the actors' store."""
    return is_truthy(properties.get(_MARK, ""))


def actor_store(components: LoadedComponents) -> Loaded[StateStore] | None:
    """The store that is live now; ``None`` when there is none that can keep actors' state."""
    for loaded in components.state.values():
        if claims_actors(loaded.properties) and loaded.component.features >= _NEEDED:
            return loaded
    return None


def check_only_one(name: str, properties: dict[str, str], components: LoadedComponents) -> None:
    """Refuse a second actor state store. Raises ``SecondActorStoreError``."""
    if not claims_actors(properties):
        return
    live = actor_store(components)
    if live is not None and live.manifest.name != name:
        raise SecondActorStoreError(
            f"detected duplicate actor state store: '{live.manifest.name}' has actorStateStore set "
            f"to true already; remove it from one of the two"
        )


class ActorStorePreparer:
    """Refuses a second actor state store before the state block looks at a component."""

    def __init__(self, following: Preparer, components: LoadedComponents) -> None:
        self._following = following
        self._components = components

    def prepare(self, manifest: resources.Component, properties: dict[str, str]) -> object:
        """What the state block prepares. Raises ``SecondActorStoreError``."""
        check_only_one(manifest.name, properties, self._components)
        return self._following.prepare(manifest, properties)
