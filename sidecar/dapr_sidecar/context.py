"""What every block is given. Attributes are swapped whole on reload: read them at each call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dapr_common.observe.tracing import Tracer
from dapr_sidecar.channel.base import AppChannel
from dapr_sidecar.identity import SidecarIdentity
from dapr_sidecar.loaded import LoadedComponents
from dapr_sidecar.resiliency.base import Policies
from dapr_sidecar.telemetry.base import Metrics


@dataclass(slots=True)
class SidecarContext:
    """The live sidecar as its blocks see it."""

    identity: SidecarIdentity
    policies: Policies
    metrics: Metrics
    tracer: Tracer
    components: LoadedComponents = field(default_factory=LoadedComponents)
    configuration: Mapping[str, object] = field(default_factory=dict)
    """``spec`` of the active Configuration."""

    channel: AppChannel | None = None
    """``None``: no app port."""
