"""Calls to an etcd cluster: the endpoint that answered last first, the others when it fails."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import TypeVar

from google.protobuf.message import Message

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.etcd import etcd_pb2 as pb

M = TypeVar("M", bound=Message)
_LARGEST_ANSWER = 64 << 20
_PING_SECONDS = 10.0  # etcd refuses those who ping more often than every five seconds


class EtcdError(Exception):
    """The cluster refused, or no endpoint of it can be reached."""


class EtcdClient:
    """One channel per endpoint. ``seconds`` bounds a call, whatever the number of endpoints."""

    def __init__(
        self, endpoints: Sequence[str], *, seconds: float, tls: ssl.SSLContext | None
    ) -> None:
        self._seconds = seconds
        self._channels = [
            GrpcChannel(
                endpoint,
                ssl=tls,
                server_hostname=endpoint.rpartition(":")[0].strip("[]") if tls else None,
                max_receive_bytes=_LARGEST_ANSWER,
                connect_timeout=seconds,
                ping_interval=_PING_SECONDS,
            )
            for endpoint in endpoints
        ]

    async def close(self) -> None:
        """Cut every connection; safe to call twice."""
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        return await self._call("KV/Range", request, pb.RangeResponse)

    async def transact(self, request: pb.TxnRequest) -> pb.TxnResponse:
        return await self._call("KV/Txn", request, pb.TxnResponse)

    async def status(self) -> pb.StatusResponse:
        """The answer of one member."""
        return await self._call("Maintenance/Status", pb.StatusRequest(), pb.StatusResponse)

    async def grant(self, seconds: int) -> int:
        """A lease; returns its id."""
        request = pb.LeaseGrantRequest(TTL=seconds)
        granted = await self._call("Lease/LeaseGrant", request, pb.LeaseGrantResponse)
        return granted.ID

    async def revoke(self, lease: int) -> None:
        request = pb.LeaseRevokeRequest(ID=lease)
        await self._call("Lease/LeaseRevoke", request, pb.LeaseRevokeResponse)

    async def _call(self, method: str, request: Message, answer: type[M]) -> M:
        """The answer of the first endpoint that gives one. Raises ``EtcdError``."""
        failures: list[str] = []
        try:
            async with asyncio.timeout(self._seconds):
                for channel in list(self._channels):
                    try:
                        done = await channel.unary("/etcdserverpb." + method, request, answer)
                    except RpcError as error:
                        failures.append(f"etcd at {channel.target}: {error.message}")
                        if error.code is not GrpcCode.UNAVAILABLE:
                            break
                        self._ask_last(channel)
                    else:
                        found: M = done.message
                        return found
        except TimeoutError:
            channel = self._channels[0]
            self._ask_last(channel)
            failures.append(f"etcd at {channel.target}: no answer within {self._seconds:g} s")
        raise EtcdError("; ".join(failures))

    def _ask_last(self, channel: GrpcChannel) -> None:
        self._channels.remove(channel)
        self._channels.append(channel)
