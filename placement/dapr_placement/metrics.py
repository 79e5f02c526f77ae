"""Every metric of placement."""

from __future__ import annotations

from dapr_common.observe.metrics import Registry


class PlacementMetrics:
    """Counters and gauges, bound once."""

    def __init__(self, registry: Registry) -> None:
        self.runtimes = registry.gauge(
            "dapr_placement_runtimes_total", ["host_namespace"], "sidecars connected, by namespace"
        )
        self.actor_runtimes = registry.gauge(
            "dapr_placement_actor_runtimes_total",
            ["host_namespace"],
            "sidecars that host actors, by namespace",
        )
        self._leading = registry.gauge(
            "dapr_placement_leader_status", text="1 while this server serves tables, else 0"
        ).at()
        self._elected = registry.gauge(
            "dapr_placement_raft_leader_status", text="1 while this server is the leader, else 0"
        ).at()
        self._identity = registry.counter(
            "dapr_placement_identity_total", ["outcome"], "certificates asked for, and what came"
        )

    def leads(self, leading: bool) -> None:
        """Whether this is the server that serves."""
        self._leading.set(int(leading))
        self._elected.set(int(leading))

    def initialised(self, reason: str = "") -> None:
        """The first certificate."""
        self._identity.at(reason or "issued").add()

    def rotated(self, reason: str = "") -> None:
        """Every other one."""
        self._identity.at(reason or "issued").add()
