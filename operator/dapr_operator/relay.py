"""Reports of sidecars that are connected here, while another operator leads and writes."""

from __future__ import annotations

import asyncio
import ssl

from dapr_common.grpc.backoff import Backoff
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.observe.logs import get_logger
from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.tls import TlsContexts, peer_id
from dapr_common.security.x509 import CertificateError
from dapr_operator.reports import REPORT, SIDECAR, Reports, Stream

_LOG = get_logger("dapr.operator.relay")
_CONNECT_SECONDS = 5.0
_PING_SECONDS = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class Relay:
    """One stream to the leader for each sidecar's own; none while nobody, or this one, leads."""

    def __init__(
        self, reports: Reports, own: SpiffeId, contexts: TlsContexts, address: str
    ) -> None:
        self._reports = reports
        self._own = own
        self._contexts = contexts
        self._address = address
        self._leader = ""
        self._leader_changed = asyncio.Event()

    def follow(self, leader: str) -> None:
        """Relay to the operator at this address; empty is nobody."""
        self._leader = "" if leader == self._address else leader
        self._leader_changed.set()

    async def run(self) -> None:
        """Relay until cancelled."""
        while True:
            self._leader_changed.clear()
            if not self._leader:
                await self._leader_changed.wait()
                continue
            relaying = asyncio.ensure_future(self._relay_to(self._leader))
            try:
                await self._leader_changed.wait()
            finally:
                relaying.cancel()
                await asyncio.wait({relaying})

    async def _relay_to(self, leader: str) -> None:
        _LOG.info("Reports of sidecars are relayed to the leader at %s", leader)
        channel = GrpcChannel(
            leader,
            ssl=self._contexts.client,
            verify_peer=self._verify,
            ping_interval=_PING_SECONDS,
            connect_timeout=_CONNECT_SECONDS,
        )
        tasks: dict[Stream, asyncio.Task[None]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._reports.came.clear()
                    for stream in [one for one in tasks if one not in self._reports.streams]:
                        del tasks[stream]
                    for stream in self._reports.streams - tasks.keys():
                        if not stream.is_relayed:
                            tasks[stream] = group.create_task(self._relay(stream, channel))
                    await self._reports.came.wait()
        finally:
            await channel.close()

    async def _relay(self, stream: Stream, channel: GrpcChannel) -> None:
        """As long as the sidecar's own stream lasts."""
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while stream in self._reports.streams:
            try:
                await self._send(stream, channel)
            except RpcError as error:
                _LOG.debug("a report is not relayed: %s", error)
                await asyncio.sleep(backoff.next())

    async def _send(self, stream: Stream, channel: GrpcChannel) -> None:
        call = await channel.open(REPORT, [(SIDECAR, str(stream.identity))])
        call.when_ended(lambda *_: stream.changed.set())
        sent = None
        try:
            while stream in self._reports.streams:
                stream.changed.clear()
                if stream.latest is not None and stream.latest is not sent:
                    sent = stream.latest
                    await call.send(sent)
                if call.status is not None:
                    raise call.error if isinstance(call.error, RpcError) else _ended()
                await stream.changed.wait()
        finally:
            call.cancel()

    def _verify(self, tls: ssl.SSLObject) -> None:
        found = peer_id(tls)
        if found != self._own:
            raise CertificateError(f'unexpected SPIFFE ID "{found}", expected "{self._own}"')


def _ended() -> RpcError:
    return RpcError(14, "the leader ended the stream")
