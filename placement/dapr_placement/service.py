"""``ReportDaprStatus``: one stream of each sidecar, served by the leader."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

from dapr_common.errors import GrpcCode
from dapr_common.grpc.context import Context, Method
from dapr_common.grpc.errors import RpcError
from dapr_common.security.spiffe import SpiffeId
from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb
from dapr_placement.hosts import authorise
from dapr_placement.metrics import PlacementMetrics
from dapr_placement.namespaces import Namespace, Rules
from dapr_placement.stream import SidecarStream

_PATH = "/dapr.proto.placement.v1.Placement/ReportDaprStatus"
_FIRST_MESSAGE_SECONDS = 30.0

StillLeads = Callable[[], bool]


class PlacementService:
    """All namespaces while this node leads; otherwise everybody is sent on.

    What the leader may do ends by a clock, so it is asked before each step: a process that stood
    still must not go on with what it was at.
    """

    def __init__(
        self, node_id: str, rules: Rules, metrics: PlacementMetrics, *, secured: bool
    ) -> None:
        self._rules = rules
        self._metrics = metrics
        self._secured = secured
        self._refusal = RpcError(
            GrpcCode.FAILED_PRECONDITION,
            f"node id={node_id} is not a leader. Only the leader can serve requests",
        )
        # Sidecars rely on owning their actors for less than that.
        self._bounds = (
            ("dapr-placement-silence-ms", _ms(rules.silence)),
            ("dapr-placement-round-ms", _ms(rules.timeout)),
        )
        self._still_leads: StillLeads | None = None
        self._namespaces: dict[str, Namespace] = {}
        self._numbers = itertools.count(1)
        self._open = 0
        self._changed = asyncio.Event()
        self.method = Method(_PATH, "stream_stream", pb.Host, pb.PlacementOrder, self._report)

    # --- leading ----------------------------------------------------------------------------

    def lead(self, still_leads: StillLeads) -> None:
        """Serve from now on, for as long as ``still_leads`` says so."""
        self._still_leads = still_leads
        self._metrics.leads(True)

    def resign(self) -> None:
        """Serve nobody any more; sidecars look for the leader."""
        self._end(self._refusal)

    def close(self) -> None:
        """This server stops."""
        self._refusal = RpcError(GrpcCode.UNAVAILABLE, "placement server is shutting down")
        self._end(self._refusal)

    def must_lead(self) -> None:
        """Raises ``RpcError`` when this is not the leader."""
        if self._still_leads is None or not self._still_leads():
            if self._still_leads is not None:
                self.resign()
            raise self._refusal

    def _may_serve(self) -> bool:
        try:
            self.must_lead()
        except RpcError:
            return False
        return True

    def _end(self, error: RpcError) -> None:
        self._still_leads = None
        self._metrics.leads(False)
        namespaces, self._namespaces = self._namespaces, {}
        for namespace in namespaces.values():
            namespace.end(error)

    # --- streams ----------------------------------------------------------------------------

    async def _report(self, requests: AsyncIterator[pb.Host], context: Context) -> None:
        self.must_lead()
        reader = asyncio.current_task()
        assert reader is not None
        context.set_initial_metadata(self._bounds)
        stream = SidecarStream(next(self._numbers), context, reader)
        self._count(1)
        try:
            await self._read(stream, requests, context)
        except asyncio.CancelledError:
            if stream.ended is not None:
                raise stream.ended from None
            raise
        finally:
            self._count(-1)
            await stream.close()

    async def _read(
        self, stream: SidecarStream, requests: AsyncIterator[pb.Host], context: Context
    ) -> None:
        first = await _first_message(requests)
        identity = context.identity if isinstance(context.identity, SpiffeId) else None
        authorise(first, identity, secured=self._secured)
        namespace = self._namespace(first.namespace)
        try:
            namespace.take(stream, first)
            async for message in requests:
                self.must_lead()
                authorise(message, identity, secured=self._secured)
                if message.namespace != namespace.name:
                    raise RpcError(
                        GrpcCode.INVALID_ARGUMENT,
                        f"the stream belongs to namespace {namespace.name}, "
                        f"a message of it names {message.namespace}",
                    )
                namespace.take(stream, message)
        finally:
            self._leave(namespace, stream)
        raise RpcError(GrpcCode.UNKNOWN, "EOF")

    def _namespace(self, name: str) -> Namespace:
        self.must_lead()
        if (found := self._namespaces.get(name)) is None:
            found = Namespace(name, self._rules, self._metrics, self._may_serve)
            self._namespaces[name] = found
        return found

    def _leave(self, namespace: Namespace, stream: SidecarStream) -> None:
        namespace.leave(stream)
        if namespace.is_empty and self._namespaces.get(namespace.name) is namespace:
            del self._namespaces[namespace.name]

    def _count(self, more: int) -> None:
        self._open += more
        self._changed.set()

    async def idle(self, seconds: float) -> None:
        """Wait until no stream has been open for so long."""
        while True:
            self._changed.clear()
            try:
                async with asyncio.timeout(None if self._open else seconds):
                    await self._changed.wait()
            except TimeoutError:
                return

    # --- what the state page shows ----------------------------------------------------------

    @property
    def namespaces(self) -> list[Namespace]:
        """Those that are connected, by name."""
        return [namespace for _, namespace in sorted(self._namespaces.items())]


def _ms(time: timedelta) -> str:
    return str(time // timedelta(milliseconds=1))


async def _first_message(requests: AsyncIterator[pb.Host]) -> pb.Host:
    try:
        async with asyncio.timeout(_FIRST_MESSAGE_SECONDS):
            return await anext(requests)
    except StopAsyncIteration:
        raise RpcError(GrpcCode.UNKNOWN, "EOF") from None
    except TimeoutError as error:
        raise RpcError(
            GrpcCode.DEADLINE_EXCEEDED,
            f"no host was reported within {_FIRST_MESSAGE_SECONDS:g} s",
        ) from error
