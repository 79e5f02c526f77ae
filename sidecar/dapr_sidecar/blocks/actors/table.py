"""Placement's tables as a sidecar reads them: actor type and id to owner. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2
from dapr_sidecar.blocks.actors.ring import Ring, VirtualNodes

_DEFAULT_REPLICATION_FACTOR = 100


@dataclass(frozen=True, slots=True)
class TableHost:
    """One sidecar that hosts a type. ``name`` is ``host:port`` of its internal API."""

    name: str
    app_id: str
    port: int = 0


@dataclass(frozen=True, slots=True)
class TypeTable:
    """The sidecars of one type; equal when they are the same, however the ring came about."""

    replication_factor: int
    hosts: Mapping[str, TableHost]
    ring: Ring = field(compare=False)

    def owner(self, actor_id: str) -> TableHost | None:
        """The sidecar an actor belongs to."""
        name = self.ring.owner(actor_id)
        return None if name is None else self.hosts[name]


class TableReader:
    """Builds tables; rings of equal sets of hosts are shared, virtual nodes are kept."""

    def __init__(self) -> None:
        self._nodes = VirtualNodes()

    def read(
        self, tables: placement_pb2.PlacementTables, before: Mapping[str, TypeTable]
    ) -> dict[str, TypeTable]:
        """The tables of a message; what did not change is taken from ``before``."""
        factor = tables.replication_factor or _DEFAULT_REPLICATION_FACTOR
        rings: dict[frozenset[str], Ring] = {}
        found: dict[str, TypeTable] = {}
        names: set[str] = set()
        for actor_type, entry in tables.entries.items():
            hosts = {
                name: TableHost(name, host.id, host.port) for name, host in entry.load_map.items()
            }
            names.update(hosts)
            known = before.get(actor_type)
            if known is not None and known.replication_factor == factor and known.hosts == hosts:
                found[actor_type] = known
                continue
            key = frozenset(hosts)
            ring = rings.get(key)
            if ring is None:
                ring = rings[key] = Ring(key, factor, self._nodes)
            found[actor_type] = TypeTable(factor, hosts, ring)
        self._nodes.keep(frozenset(names))
        return found


def changed_types(
    before: Mapping[str, TypeTable], after: Mapping[str, TypeTable]
) -> frozenset[str]:
    """Types that came, went or have other sidecars now."""
    every = before.keys() | after.keys()
    return frozenset(name for name in every if before.get(name) != after.get(name))
