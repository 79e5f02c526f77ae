"""``daprpy.operator.v1.SidecarStatus``: sidecars say what became of their resources.

Whichever operator a sidecar is connected to: the leader keeps the book, the others pass on what
they hear. When another one leads every stream ends, and sidecars say everything anew.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.context import Context, Method
from dapr_common.grpc.errors import RpcError
from dapr_common.kube.events import EventRecorder
from dapr_common.observe.logs import get_logger
from dapr_common.security.spiffe import SpiffeError, SpiffeId
from dapr_common.security.tls import TlsContexts, peer_id
from dapr_common.security.x509 import CertificateError
from dapr_common.wire.daprpy.operator.v1.status_pb2 import ReportSummary, SidecarReport
from dapr_operator.authorization import caller
from dapr_operator.kinds import DAPR_KINDS
from dapr_operator.report_book import Name, State, read
from dapr_operator.status import StatusWriter

REPORT = "/daprpy.operator.v1.SidecarStatus/Report"
SIDECAR = "dapr-sidecar-id"
"""Metadata of a stream that is passed on: whose it is."""
_LOG = get_logger("dapr.operator.reports")
_PAUSE_SECONDS = 0.1
_CONNECT_SECONDS = 5.0
_PING_SECONDS = 10.0


@dataclass(eq=False)
class _Stream:
    """One stream of reports, and the way to end it from outside."""

    identity: SpiffeId
    is_passed_on: bool
    task: asyncio.Task[object] | None
    why_ended: RpcError | None = None

    def end(self, why: RpcError) -> None:
        if self.why_ended is None and self.task is not None:
            self.why_ended = why
            self.task.cancel()


class Reports:
    """Takes reports. ``address`` is this operator's; nobody leads before ``follow`` is called."""

    def __init__(
        self,
        own: SpiffeId,
        contexts: TlsContexts,
        address: str,
        status: StatusWriter,
        events: EventRecorder,
    ) -> None:
        self._own = own
        self._contexts = contexts
        self._address = address
        self._status = status
        self._events = events
        self._streams: set[_Stream] = set()
        self._leader = ""
        self._somebody_leads = asyncio.Event()
        self._channel: GrpcChannel | None = None

    @property
    def method(self) -> Method:
        """The one method, for a server."""
        return Method(REPORT, "stream_unary", SidecarReport, ReportSummary, self.report)

    def follow(self, leader: str) -> None:
        """The operator at this address leads; empty is nobody."""
        self._leader = leader
        (self._somebody_leads.set if leader else self._somebody_leads.clear)()
        for stream in list(self._streams):
            stream.end(RpcError(GrpcCode.UNAVAILABLE, "another operator leads now"))
        if leader and leader != self._address:
            _LOG.info("Reports of sidecars are passed on to the leader at %s", leader)

    async def close(self) -> None:
        """End the connection to the leader."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def report(
        self, reports: AsyncIterator[SidecarReport], context: Context
    ) -> ReportSummary:
        """Read until the sidecar goes. Raises ``RpcError``."""
        stream = self._stream(context)
        self._streams.add(stream)
        try:
            await self._somebody_leads.wait()
            if self._leader == self._address:
                await self._keep(stream, reports)
            elif stream.is_passed_on:
                raise RpcError(GrpcCode.UNAVAILABLE, "this operator does not lead")
            else:
                await self._pass_on(stream, reports)
        except asyncio.CancelledError:
            if stream.why_ended is not None:
                raise stream.why_ended from None
            raise
        finally:
            self._streams.discard(stream)
        return ReportSummary()

    def _stream(self, context: Context) -> _Stream:
        identity, task = caller(context), asyncio.current_task()
        passed_on = context.get(SIDECAR)
        if passed_on is None:
            return _Stream(identity, False, task)
        if identity != self._own:
            raise RpcError(GrpcCode.PERMISSION_DENIED, "only operators speak for others")
        try:
            return _Stream(SpiffeId.parse(str(passed_on)), True, task)
        except SpiffeError as error:
            raise RpcError(GrpcCode.INVALID_ARGUMENT, str(error)) from error

    # --- the leader -------------------------------------------------------------------------

    async def _keep(self, stream: _Stream, reports: AsyncIterator[SidecarReport]) -> None:
        try:
            async for report in reports:
                self._take(stream, report)
                del report  # there may be a thousand of these streams, each waiting for its next
                await asyncio.sleep(_PAUSE_SECONDS)  # whoever hurries waits
        finally:
            self._status.book.forget(stream, stream.identity.namespace)

    def _take(self, stream: _Stream, report: SidecarReport) -> None:
        identity = stream.identity
        _check(report, identity)
        sidecar = read(report, identity.namespace, identity.app_id)
        for name, state in self._status.book.put(stream, sidecar):
            self._tell(identity, name, state)

    def _tell(self, identity: SpiffeId, name: Name, state: State) -> None:
        kind = next((kind for kind in DAPR_KINDS if kind.word == name[0]), None)
        if kind is None:
            return
        resource = self._status.resource(kind, identity.namespace, name[1])
        if resource is None:
            return
        message = f"A sidecar of app '{identity.app_id}' could not load it: {state.message}"
        self._events.report(resource.subject(kind), "LoadFailed", message)

    # --- the others -------------------------------------------------------------------------

    async def _pass_on(self, stream: _Stream, reports: AsyncIterator[SidecarReport]) -> None:
        channel = await self._to_leader()
        call = await channel.open(REPORT, [(SIDECAR, str(stream.identity))])
        call.when_ended(
            lambda *_: stream.end(RpcError(GrpcCode.UNAVAILABLE, "the leader was lost"))
        )
        try:
            async for report in reports:
                _check(report, stream.identity)
                await call.send(report)
                del report
        finally:
            call.cancel()

    async def _to_leader(self) -> GrpcChannel:
        if self._channel is None or self._channel.target != self._leader:
            await self.close()
        if self._channel is None:
            self._channel = GrpcChannel(
                self._leader,
                ssl=self._contexts.client,
                verify_peer=self._verify,
                ping_interval=_PING_SECONDS,
                connect_timeout=_CONNECT_SECONDS,
            )
        return self._channel

    def _verify(self, tls: ssl.SSLObject) -> None:
        found = peer_id(tls)
        if found != self._own:
            raise CertificateError(f'unexpected SPIFFE ID "{found}", expected "{self._own}"')


def _check(report: SidecarReport, identity: SpiffeId) -> None:
    if report.namespace != identity.namespace:
        raise RpcError(
            GrpcCode.PERMISSION_DENIED,
            f"identity does not match the report's namespace exp={report.namespace} "
            f"got={identity.namespace}",
        )
