"""``daprpy.operator.v1.SidecarStatus``: sidecars say what became of their resources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from dapr_common.errors import GrpcCode
from dapr_common.grpc.context import Context, Method
from dapr_common.grpc.errors import RpcError
from dapr_common.kube.events import EventRecorder
from dapr_common.security.spiffe import SpiffeError, SpiffeId
from dapr_common.wire.daprpy.operator.v1.status_pb2 import ReportSummary, SidecarReport
from dapr_operator.authorization import caller
from dapr_operator.kinds import DAPR_KINDS
from dapr_operator.report_book import Name, State, read
from dapr_operator.status import StatusWriter

REPORT = "/daprpy.operator.v1.SidecarStatus/Report"
SIDECAR = "dapr-sidecar-id"
"""Metadata of a relayed stream: whose it is."""
_MOST_REPORTS_A_SECOND = 10.0


@dataclass(eq=False)
class Stream:
    """One sidecar's stream, as a relay sees it."""

    identity: SpiffeId
    is_relayed: bool
    latest: SidecarReport | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Reports:
    """Keeps the book of this operator: of its own sidecars, and of those others relay to it."""

    def __init__(self, own: SpiffeId, status: StatusWriter, events: EventRecorder) -> None:
        self.streams: set[Stream] = set()
        self.came = asyncio.Event()
        """Set whenever there is another stream."""
        self._own = own
        self._status = status
        self._events = events

    @property
    def method(self) -> Method:
        """The one method, for a server."""
        return Method(REPORT, "stream_unary", SidecarReport, ReportSummary, self.report)

    async def report(
        self, reports: AsyncIterator[SidecarReport], context: Context
    ) -> ReportSummary:
        """Read until the sidecar goes. Raises ``RpcError``."""
        stream = self._stream(context)
        self.streams.add(stream)
        self.came.set()
        try:
            async for report in reports:
                self._take(stream, report)
                await asyncio.sleep(1.0 / _MOST_REPORTS_A_SECOND)  # whoever hurries waits
        finally:
            self.streams.discard(stream)
            stream.changed.set()
            self._status.book.forget(stream, stream.identity.namespace)
        return ReportSummary()

    def _stream(self, context: Context) -> Stream:
        identity = caller(context)
        relayed = context.get(SIDECAR)
        if relayed is None:
            return Stream(identity, is_relayed=False)
        if identity != self._own:
            raise RpcError(GrpcCode.PERMISSION_DENIED, "only operators relay reports of others")
        try:
            return Stream(SpiffeId.parse(str(relayed)), is_relayed=True)
        except SpiffeError as error:
            raise RpcError(GrpcCode.INVALID_ARGUMENT, str(error)) from error

    def _take(self, stream: Stream, report: SidecarReport) -> None:
        identity = stream.identity
        if report.namespace != identity.namespace:
            raise RpcError(
                GrpcCode.PERMISSION_DENIED,
                f"identity does not match the report's namespace exp={report.namespace} "
                f"got={identity.namespace}",
            )
        stream.latest = report
        stream.changed.set()
        sidecar = read(report, identity.namespace, identity.app_id)
        for name, state in self._status.book.put(stream, sidecar):
            if not stream.is_relayed:
                self._tell(identity, name, state)

    def _tell(self, identity: SpiffeId, name: Name, state: State) -> None:
        kind = next((kind for kind in DAPR_KINDS if kind.word == name[0]), None)
        resource = (
            None if kind is None else self._status.resource(kind, identity.namespace, name[1])
        )
        if kind is None or resource is None:
            return
        subject = resource.subject(kind)
        message = f"A sidecar of app '{identity.app_id}' could not load it: {state.message}"
        self._events.report(subject, "LoadFailed", message)
