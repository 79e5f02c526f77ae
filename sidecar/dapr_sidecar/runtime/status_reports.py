"""Tells the operator how the resources of this sidecar fare; nothing depends on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from dapr_common import RUNTIME_VERSION
from dapr_common.errors import GrpcCode
from dapr_common.grpc.backoff import Backoff
from dapr_common.grpc.call import Call
from dapr_common.grpc.errors import RpcError
from dapr_common.observe.logs import get_logger
from dapr_common.wire.daprpy.operator.v1 import status_pb2 as pb
from dapr_sidecar.runtime.operator_client import OperatorClient
from dapr_sidecar.runtime.resources import Key
from dapr_sidecar.runtime.statuses import Status, StatusBook

_LOG = get_logger("dapr.runtime.operator")
_COALESCE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 30.0
_LONGEST_MESSAGE = 1024
_STATES = {
    "loaded": pb.ResourceStatus.LOADED,
    "failed": pb.ResourceStatus.FAILED,
    "pending": pb.ResourceStatus.PENDING,
}


class StatusReports:
    """Keeps one stream open; each report says everything anew."""

    def __init__(self, client: OperatorClient, book: StatusBook, pod: str) -> None:
        self._client = client
        self._book = book
        self._pod = pod

    async def run(self) -> None:
        """Report until cancelled, or until an operator says that it takes no reports."""
        backoff = Backoff(0.5, _LONGEST_PAUSE_SECONDS, jitter=0.5)
        while True:
            try:
                async with self._client.reports() as call:
                    await self._report(call, backoff)
            except RpcError as error:
                if error.code is GrpcCode.UNIMPLEMENTED:
                    _LOG.debug("the operator takes no reports")
                    return
                _LOG.debug("reports to the operator ended: %s", error)
            await asyncio.sleep(backoff.next())

    async def _report(self, call: Call, backoff: Backoff) -> None:
        """Until the stream ends, which only its reading side tells while there is no news."""
        ended = asyncio.create_task(call.next_message(), name="reports-ended")
        try:
            while not ended.done():
                self._book.changed.clear()
                await call.send(self._message())
                changed = asyncio.ensure_future(self._book.changed.wait())
                await asyncio.wait({changed, ended}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if not ended.done():
                    backoff.reset()
                    await asyncio.sleep(_COALESCE_SECONDS)
            ended.result()
        finally:
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)

    def _message(self) -> pb.SidecarReport:
        return pb.SidecarReport(
            namespace=self._client.namespace,
            pod=self._pod,
            version=RUNTIME_VERSION,
            resources=resource_statuses(self._book.entries),
        )


def resource_statuses(entries: Mapping[Key, Status]) -> list[pb.ResourceStatus]:
    """What is said of each resource that the cluster has; parts of the sidecar have no version."""
    found: list[pb.ResourceStatus] = []
    for (kind, name), status in entries.items():
        if not status.version:
            continue
        said = pb.ResourceStatus(
            kind=kind,
            name=name,
            resource_version=status.version,
            state=_STATES[status.state],
            message=status.message[:_LONGEST_MESSAGE],
        )
        said.since.FromDatetime(status.since)
        found.append(said)
    return found
