"""The namespaces that are connected: their rounds, their streams, their timers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from dapr_common.durations import format_go_duration
from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.observe.logs import get_logger
from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb
from dapr_placement.dissemination import Dissemination, Effects, Late, Order, Wait
from dapr_placement.hosts import as_reported
from dapr_placement.metrics import PlacementMetrics
from dapr_placement.orders import OrderBook
from dapr_placement.stream import SidecarStream

_LOG = get_logger("dapr.placement")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How tables are disseminated."""

    timeout: timedelta = timedelta(seconds=8)
    window: timedelta = timedelta(0)
    replication_factor: int = 100
    silence: timedelta = timedelta(seconds=5)
    """After so long without a sign of life a sidecar's connection is cut."""


class Namespace:
    """The streams of one namespace. ``may_serve`` is asked before anything is sent."""

    def __init__(
        self, name: str, rules: Rules, metrics: PlacementMetrics, may_serve: Callable[[], bool]
    ) -> None:
        self.name = name
        self._rules = rules
        self._may_serve = may_serve
        self._dissemination = Dissemination(
            timeout=rules.timeout.total_seconds(), window=rules.window.total_seconds()
        )
        self._orders = OrderBook(rules.replication_factor)
        self._streams: dict[int, SidecarStream] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._sidecars = metrics.runtimes.at(name)
        self._actor_hosts = metrics.actor_runtimes.at(name)

    @property
    def is_empty(self) -> bool:
        """Whether nobody is connected."""
        return not self._streams

    @property
    def version(self) -> int:
        """That of the tables."""
        return self._dissemination.version

    @property
    def hosts(self) -> list[pb.Host]:
        """Who hosts actors, by name."""
        return [host for _, host in sorted(self._dissemination.hosts.items())]

    def take(self, stream: SidecarStream, message: pb.Host) -> None:
        """A message of a sidecar that may send it."""
        machine, number = self._dissemination, stream.number
        if number not in self._streams:
            self._streams[number] = stream
            self._carry_out(machine.report(number, as_reported(message)))
        elif message.HasField("version") and message.version < machine.version:
            return
        elif message.operation == pb.REPORT:
            self._carry_out(machine.report(number, as_reported(message)))
        elif message.operation == pb.UNKNOWN:
            self._carry_out(machine.heartbeat(number, as_reported(message)))
        else:
            version = message.version if message.HasField("version") else None
            self._carry_out(machine.answer(number, message.operation, version))

    def leave(self, stream: SidecarStream) -> None:
        """A stream has ended."""
        if self._streams.pop(stream.number, None) is not None:
            self._carry_out(self._dissemination.leave(stream.number))

    def end(self, error: RpcError) -> None:
        """End every stream, and forget them."""
        self._wait(None)
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.end(error)
        self._sidecars.set(0)
        self._actor_hosts.set(0)

    # --- effects ----------------------------------------------------------------------------

    def _carry_out(self, effects: Effects) -> None:
        if not self._may_serve():
            return
        for effect in effects:
            if isinstance(effect, Order):
                self._send(effect)
            elif isinstance(effect, Late):
                self._drop(effect.streams, effect.version)
            else:
                self._wait(effect)
        self._sidecars.set(len(self._streams))
        self._actor_hosts.set(self._dissemination.actor_hosts)
        if not self._streams:
            self._wait(None)

    def _send(self, order: Order) -> None:
        encoded = self._orders.encoded(order.operation, order.version, self._tables)
        for number in order.streams:
            self._streams[number].put(order.operation, encoded)

    def _tables(self) -> Mapping[str, pb.Host]:
        return self._dissemination.hosts

    def _drop(self, numbers: Iterable[int], version: int) -> None:
        after = format_go_duration(self._rules.timeout)
        text = f"dissemination timeout after {after} for version {version}"
        for number in numbers:
            _LOG.warning("A sidecar of namespace %s is dropped: %s", self.name, text)
            self._streams.pop(number).end(RpcError(GrpcCode.DEADLINE_EXCEEDED, text))

    def _wait(self, wait: Wait | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wait is not None and wait.seconds is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(wait.seconds, self._time_is_over)

    def _time_is_over(self) -> None:
        self._timer = None
        self._carry_out(self._dissemination.timer())
