"""Orders as they go over the wire: encoded once, sent to everybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

from dapr_common.grpc.wire import frame, frame_compressed
from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb
from dapr_placement.dissemination import Operation

_LEAST_PACKED_BYTES = 1024


class Encoded:
    """An order with gRPC's frame, as every stream sends it.

    Hosts look alike, so that tables shrink to a fraction; whoever takes that gets it.
    """

    def __init__(self, order: pb.PlacementOrder) -> None:
        self._raw = order.SerializeToString(deterministic=True)

    @cached_property
    def plain(self) -> bytes:
        """Not compressed."""
        return frame(self._raw)

    @cached_property
    def packed(self) -> bytes:
        """Compressed by gzip where that saves something."""
        if len(self._raw) < _LEAST_PACKED_BYTES:
            return self.plain
        return frame_compressed(self._raw, b"gzip")


class OrderBook:
    """The encoded orders of one version of one namespace."""

    def __init__(self, replication_factor: int) -> None:
        self._replication_factor = replication_factor
        self._version = -1
        self._encoded: dict[Operation, Encoded] = {}

    def encoded(
        self, operation: Operation, version: int, hosts: Callable[[], Mapping[str, pb.Host]]
    ) -> Encoded:
        """A ``PlacementOrder``; within one version the hosts are the same."""
        if version != self._version:
            self._version = version
            self._encoded = {}
        if (found := self._encoded.get(operation)) is None:
            order = pb.PlacementOrder(operation=operation, version=version)
            if operation == "update":
                _fill(order.tables, version, hosts(), self._replication_factor)
            found = self._encoded[operation] = Encoded(order)
        return found


def _fill(
    tables: pb.PlacementTables, version: int, hosts: Mapping[str, pb.Host], replication_factor: int
) -> None:
    tables.version = str(version)
    tables.replication_factor = replication_factor
    for name, host in hosts.items():
        for entity in host.entities:
            tables.entries[entity].load_map[name].CopyFrom(host)
