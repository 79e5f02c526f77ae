"""The metadata API: what this sidecar is, has loaded and is connected to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from dapr_common import RUNTIME_VERSION
from dapr_common.errors import DaprError, GrpcCode
from dapr_common.kube.resources import Subscription
from dapr_sidecar.blocks.component_health import ComponentHealth, failing
from dapr_sidecar.components.state.base import Feature, StateStore
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.loaded import Loaded

_MOST_KEYS, _MOST_EXTENDED = 1000, 8 << 20
"""Of the extended values: the public port takes them from anybody, and they are kept for good."""


@dataclass(frozen=True, slots=True)
class ComponentInfo:
    """One registered component."""

    name: str
    type: str
    version: str
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AppConnection:
    """How the app is reached; ``health`` is path, interval, timeout (Go durations), threshold."""

    port: int
    protocol: str
    channel_address: str
    max_concurrency: int
    health: tuple[str, str, str, int] | None = None


@dataclass(frozen=True, slots=True)
class ActorStatus:
    """The actor runtime as the metadata API shows it."""

    status: str = "DISABLED"
    host_ready: bool = False
    placement: str = "placement: disconnected"
    active: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SidecarMetadata:
    """One answer of the metadata API."""

    id: str
    enabled_features: Sequence[str]
    components: Sequence[ComponentInfo]
    extended: dict[str, str]
    subscriptions: Sequence[tuple[Subscription, str]]
    http_endpoints: Sequence[str]
    connection: AppConnection
    actors: ActorStatus
    resiliencies: Sequence[str] = ()
    schedulers: Sequence[str] = ()
    """Addresses of the scheduler's instances."""


@dataclass(slots=True)
class MetadataBlock:
    """Collects the answer from the live sidecar."""

    context: SidecarContext
    connection: AppConnection
    subscriptions: Callable[[], Iterable[tuple[Subscription, str]]]
    """Live subscriptions with DECLARATIVE, PROGRAMMATIC or STREAMING."""
    features: Sequence[str] = ()
    resiliencies: Callable[[], Sequence[str]] = tuple
    actors: Callable[[], ActorStatus] = ActorStatus
    schedulers: Callable[[], Sequence[str]] = tuple
    health: ComponentHealth = field(init=False)
    extended: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.health = ComponentHealth(self.context)

    def get(self) -> SidecarMetadata:
        """The metadata now; a component that fails is told of among the extended values."""
        told = {
            f"componentHealth.{one.name}": f"{one.state} since {one.since_text}"
            + (f": {one.error}" if one.error else "")
            for one in failing(self.health.states())
        }
        return SidecarMetadata(
            id=self.context.identity.app_id,
            enabled_features=self.features,
            components=self.components(),
            extended={**self.extended, **told, "daprRuntimeVersion": RUNTIME_VERSION},
            subscriptions=list(self.subscriptions()),
            http_endpoints=list(self.context.components.http_endpoints),
            connection=self.connection,
            actors=self.actors(),
            resiliencies=self.resiliencies(),
            schedulers=self.schedulers(),
        )

    def set(self, key: str, value: str) -> None:
        """Store one extended value. Raises ``DaprError`` when all of them become too large."""
        kept = sum(len(name) + len(text) for name, text in self.extended.items() if name != key)
        if kept + len(key) + len(value) > _MOST_EXTENDED or (
            key not in self.extended and len(self.extended) >= _MOST_KEYS
        ):
            raise DaprError(
                "ERR_METADATA_TOO_LARGE",
                f"metadata takes at most {_MOST_KEYS} keys and {_MOST_EXTENDED} characters in all",
                http_status=413,
                grpc_code=GrpcCode.RESOURCE_EXHAUSTED,
            )
        self.extended[key] = value

    def components(self) -> list[ComponentInfo]:
        """Every component in load order, with what it can do."""
        live = self.context.components
        found: dict[str, ComponentInfo] = {}
        for name, state in live.state.items():
            found[name] = _info(state, _state_capabilities(state.component))
        for name, pubsub in live.pubsub.items():
            found[name] = _info(pubsub, tuple(f.value for f in pubsub.component.features))
        for name, entry in live.input_bindings.items():
            found[name] = _info(entry, ("INPUT_BINDING",))
        for name, output in live.output_bindings.items():
            before = found[name].capabilities if name in live.input_bindings else ()
            found[name] = _info(output, (*before, "OUTPUT_BINDING"))
        for name, secrets in live.secret_stores.items():
            found[name] = _info(secrets, tuple(secrets.component.capabilities()))
        for plain in (live.configuration, live.locks, live.crypto):
            for name, other in plain.items():
                found[name] = _info(other, ())
        return list(found.values())


def _info(entry: Loaded, capabilities: tuple[str, ...]) -> ComponentInfo:  # type: ignore[type-arg]
    manifest = entry.manifest
    return ComponentInfo(manifest.name, manifest.type, manifest.version or "v1", capabilities)


def _state_capabilities(store: StateStore) -> tuple[str, ...]:
    features = store.feature_order or tuple(sorted(store.features, key=lambda f: f.value))
    names = [feature.value for feature in features]
    if {Feature.ETAG, Feature.TRANSACTIONAL} <= set(features):
        names.append("ACTOR")
    return tuple(names)
