"""An operator that is told what to answer, for what a real one does not do on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from harness.authorities import Authority

from dapr_common.grpc.context import Context
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import GrpcServer, Method
from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.tls import TlsContexts, peer_id
from dapr_common.security.x509 import CertificateError
from dapr_common.wire.daprpy.operator.v1 import status_pb2
from dapr_sidecar.runtime.operator_client import CONFIGURATIONS, LISTED, WatchedKind

OPERATOR = "spiffe://cluster.local/ns/dapr-system/dapr-operator"
_SERVICE = "/dapr.proto.operator.v1.Operator/"


class StandInSecurity:
    """What a sidecar's security gives to the operator's client."""

    def __init__(self, contexts: TlsContexts, operator: str = OPERATOR) -> None:
        self._contexts = contexts
        self._operator = SpiffeId.parse(operator)

    def client_context(self) -> Any:
        return self._contexts.client

    def verify_operator(self, peer: Any) -> None:
        if (found := peer_id(peer)) != self._operator:
            raise CertificateError(f"unexpected SPIFFE ID {found}")


class StandInOperator:
    """``resources`` is what it lists; ``tell`` sends an event on the open streams of a kind.

    ``failures`` go out first, one per call of a method; ``silent`` says nothing when a stream
    opens, as Dapr's operator does.
    """

    def __init__(self, *, silent: bool = False, reports: bool = True) -> None:
        self.authority = Authority.root()
        self.silent = silent
        self.resources: dict[str, dict[str, bytes]] = {
            k.name: {} for k in (*LISTED, CONFIGURATIONS)
        }
        self.failures: dict[str, list[RpcError]] = {}
        self.calls: list[str] = []
        self.peers: set[str] = set()
        self.streams: dict[str, list[asyncio.Queue[Any]]] = {}
        self.reports: list[status_pb2.SidecarReport] = []
        self.happened = asyncio.Condition()
        self.address = ""
        self._takes_reports = reports

    def security(self, operator: str = OPERATOR) -> StandInSecurity:
        contexts = TlsContexts()
        contexts.install(self.authority.svid("spiffe://public/ns/apps/orders"))
        return StandInSecurity(contexts, operator)

    # --- what a test does -------------------------------------------------------------------

    def put(self, kind: str, name: str, version: str = "1", **body: Any) -> bytes:
        metadata = {"name": name, "namespace": "apps", "resourceVersion": version}
        raw = json.dumps({"metadata": metadata, **body}).encode()
        self.resources[kind][name] = raw
        return raw

    async def tell(self, kind: WatchedKind, change: int, raw: bytes) -> None:
        event = kind.event(type=change, **{kind.changed: raw})
        for queue in self.streams.get(kind.name, []):
            await queue.put(event)

    async def cut(self, kind: WatchedKind) -> None:
        for queue in self.streams.get(kind.name, []):
            await queue.put(None)

    async def until(self, what: Any) -> None:
        async with asyncio.timeout(20), self.happened:
            await self.happened.wait_for(what)

    # --- what it answers --------------------------------------------------------------------

    async def _note(self, method: str, context: Context) -> None:
        self.peers.add(context.peer)
        async with self.happened:
            self.calls.append(method)
            self.happened.notify_all()
        if failures := self.failures.get(method):
            raise failures.pop(0)

    def _methods(self, kind: WatchedKind) -> list[Method]:
        async def listed(request: Any, context: Context) -> Any:
            await self._note(kind.list_method, context)
            found = list(self.resources[kind.name].values())
            value = found[0] if kind is CONFIGURATIONS else found
            return kind.list_response(**{kind.listed: value})

        async def followed(request: Any, context: Context) -> AsyncIterator[Any]:
            await self._note(kind.update_method, context)
            queue: asyncio.Queue[Any] = asyncio.Queue()
            self.streams.setdefault(kind.name, []).append(queue)
            if not self.silent:
                context.send_initial_metadata()
            try:
                while (event := await queue.get()) is not None:
                    yield event
            finally:
                self.streams[kind.name].remove(queue)

        return [
            Method(
                _SERVICE + kind.list_method,
                "unary_unary",
                kind.list_request,
                kind.list_response,
                listed,
            ),
            Method(
                _SERVICE + kind.update_method,
                "unary_stream",
                kind.update_request,
                kind.event,
                followed,
            ),
        ]

    async def _report(self, reports: Any, context: Context) -> Any:
        await self._note("Report", context)
        async for report in reports:
            async with self.happened:
                self.reports.append(report)
                self.happened.notify_all()
        return status_pb2.ReportSummary()

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[None]:
        server = GrpcServer(max_receive_bytes=4 << 20)
        for kind in (*LISTED, CONFIGURATIONS):
            for method in self._methods(kind):
                server.add(method)
        if self._takes_reports:
            types = status_pb2.SidecarReport, status_pb2.ReportSummary
            path = "/daprpy.operator.v1.SidecarStatus/Report"
            server.add(Method(path, "stream_unary", *types, self._report))
        contexts = TlsContexts()
        contexts.install(self.authority.svid(OPERATOR))
        bound = await server.listen_tcp("127.0.0.1", port, ssl=contexts.mutual_server)
        self.address = f"127.0.0.1:{bound}"
        try:
            yield
        finally:
            await server.close(0)
