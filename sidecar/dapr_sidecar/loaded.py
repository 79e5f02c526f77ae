"""What is live in this sidecar now: names → components. Blocks read it, the runtime writes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from dapr_common.kube import resources
from dapr_sidecar.components.bindings.base import InputBinding, OutputBinding
from dapr_sidecar.components.configuration.base import ConfigurationStore
from dapr_sidecar.components.crypto.base import CryptoProvider
from dapr_sidecar.components.lock.base import LockStore
from dapr_sidecar.components.pubsub.base import PubSub
from dapr_sidecar.components.secretstores.base import SecretStore
from dapr_sidecar.components.state.base import StateStore

C = TypeVar("C")


@dataclass(slots=True)
class Loaded(Generic[C]):
    """One live component and the manifest it was made from.

    ``properties`` are the resolved metadata values (secrets filled in, templates expanded), with
    lower-cased names. Treat the object as immutable: a reload puts a new one in its place.
    """

    manifest: resources.Component
    component: C
    properties: dict[str, str]
    extra: object = None
    """What the block prepared from ``properties`` at load time (prefix, scopes)."""


@dataclass(slots=True)
class LoadedComponents:
    """Everything live, by kind and name."""

    state: dict[str, Loaded[StateStore]] = field(default_factory=dict)
    pubsub: dict[str, Loaded[PubSub]] = field(default_factory=dict)
    secret_stores: dict[str, Loaded[SecretStore]] = field(default_factory=dict)
    output_bindings: dict[str, Loaded[OutputBinding]] = field(default_factory=dict)
    input_bindings: dict[str, Loaded[InputBinding]] = field(default_factory=dict)
    configuration: dict[str, Loaded[ConfigurationStore]] = field(default_factory=dict)
    locks: dict[str, Loaded[LockStore]] = field(default_factory=dict)
    crypto: dict[str, Loaded[CryptoProvider]] = field(default_factory=dict)
    http_endpoints: dict[str, resources.HttpEndpoint] = field(default_factory=dict)

    def every(self) -> dict[str, Loaded[Any]]:
        """All components by name; a binding of both directions is one."""
        return {
            **self.state,
            **self.pubsub,
            **self.input_bindings,
            **self.output_bindings,
            **self.secret_stores,
            **self.configuration,
            **self.locks,
            **self.crypto,
        }
