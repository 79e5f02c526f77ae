"""The seam between blocks and metrics: what a block reports, without knowing metric names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from dapr_common.grpc.client import AfterCall
    from dapr_sidecar.telemetry.actors import ActorMetrics
    from dapr_sidecar.telemetry.security import SecurityMetrics
    from dapr_sidecar.telemetry.workflows import WorkflowMetrics


class MetricsError(ValueError):
    """Metrics are configured in a way that cannot work; the sidecar does not start."""


Kind = Literal["state", "configuration", "secret", "crypto"]


class Metrics(Protocol):
    """Calls are cheap (array counters); elapsed times are milliseconds."""

    @property
    def actors(self) -> ActorMetrics: ...

    @property
    def workflows(self) -> WorkflowMetrics: ...

    @property
    def security(self) -> SecurityMetrics: ...

    def component(
        self, kind: Kind, name: str, operation: str, success: bool, elapsed_ms: float
    ) -> None: ...

    def pubsub_egress(self, name: str, topic: str, success: bool, elapsed_ms: float) -> None: ...

    def pubsub_egress_bulk(
        self, name: str, topic: str, success: bool, events: int, elapsed_ms: float
    ) -> None: ...

    def pubsub_ingress(
        self, name: str, topic: str, process_status: str, status: str, elapsed_ms: float
    ) -> None: ...

    def pubsub_ingress_bulk(
        self, name: str, topic: str, process_status: str, events: int, elapsed_ms: float
    ) -> None: ...

    def input_binding(self, name: str, success: bool, elapsed_ms: float) -> None: ...

    def output_binding(
        self, name: str, operation: str, success: bool, elapsed_ms: float
    ) -> None: ...

    def conversation(self, name: str, success: bool, elapsed_ms: float) -> None: ...

    def job(self, operation: str, success: bool, elapsed_ms: float) -> None:
        """A job trigger the app answered; ``operation`` as the job API names it."""

    def invocation_request_sent(self, target: str, streaming: bool) -> None: ...

    def invocation_request_received(self, source: str) -> None: ...

    def invocation_response_sent(self, target: str, status: int) -> None: ...

    def invocation_response_received(
        self, source: str, status: int, streaming: bool, elapsed_ms: float
    ) -> None: ...

    def acl(self, scope: Literal["app", "global"], allowed: bool, source: str) -> None: ...

    def http_client(
        self, method: str, path: str, status: int, elapsed_ms: float, sent: int, received: int
    ) -> None:
        """A call to the app over HTTP."""

    @property
    def grpc_client(self) -> AfterCall:
        """Takes the outcome of each gRPC call this sidecar makes."""

    def health_probe(self, protocol: Literal["http", "grpc"], status: str, ms: float) -> None: ...

    def component_initialised(self, type_name: str) -> None: ...

    def component_failed(self, type_name: str, reason: str, name: str) -> None: ...

    def component_loaded(self, count: int) -> None: ...

    def component_ready(self, name: str, type_name: str, ready: bool) -> None:
        """What a component's last ping said."""

    def component_gone(self, name: str, type_name: str) -> None:
        """The component is not there any more."""
