"""Connections to other sidecars: one channel per address and expected identity."""

from __future__ import annotations

import ssl
from typing import Protocol

from dapr_common.grpc.client import AfterCall, GrpcChannel
from dapr_sidecar.messaging.wire import message_limit

_IDLE_SECONDS = 180.0
_PING_SECONDS, _PING_TIMEOUT = 10.0, 5.0
_MANY = 256


class PeerSecurity(Protocol):
    """Mutual TLS towards other sidecars."""

    def client_context(self) -> ssl.SSLContext:
        """The context of new connections, with the newest certificate."""
        ...

    def verify(self, peer: ssl.SSLObject, namespace: str, app_id: str) -> None:
        """Raise when the peer is not this app."""
        ...


class Peers:
    """The pool. ``security=None`` is plaintext."""

    def __init__(
        self,
        security: PeerSecurity | None = None,
        *,
        max_message_bytes: int | None = 4 << 20,
        after: AfterCall | None = None,
    ) -> None:
        self._security = security
        self._max_message_bytes = max_message_bytes
        self._after = after
        self._channels: dict[tuple[str, str, str], GrpcChannel] = {}
        self._leaving: list[GrpcChannel] = []

    def channel(self, address: str, namespace: str, app_id: str) -> GrpcChannel:
        """The channel to an app's sidecar."""
        # Keyed by identity too: a connection proved to be one app is never used for another.
        key = (address, namespace, app_id)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = self._new(address, namespace, app_id)
        return channel

    async def drop(self, channel: GrpcChannel) -> None:
        """A call failed to get through: the next one to this peer connects anew.

        Of several calls that failed on one channel only the first replaces it.
        """
        for key, known in self._channels.items():
            if known is channel:
                del self._channels[key]
                self._leaving.append(channel)
                break
        await self._sweep()

    async def close(self) -> None:
        """Cut every connection."""
        channels = [*self._channels.values(), *self._leaving]
        self._channels.clear()
        self._leaving.clear()
        for channel in channels:
            await channel.close()

    async def _sweep(self) -> None:
        """Close channels that were dropped, once the calls they still carry are over."""
        busy: list[GrpcChannel] = []
        for channel in self._leaving:
            if channel.active:
                busy.append(channel)
            else:
                await channel.close()
        self._leaving = busy

    def _new(self, address: str, namespace: str, app_id: str) -> GrpcChannel:
        if len(self._channels) >= _MANY:
            self._forget_unused()
        security = self._security
        verify = None
        context = None
        if security is not None:
            context = security.client_context()

            def verify(peer: ssl.SSLObject) -> None:
                security.verify(peer, namespace, app_id)

        return GrpcChannel(
            address,
            ssl=context,
            verify_peer=verify,
            max_receive_bytes=message_limit(self._max_message_bytes),
            ping_interval=_PING_SECONDS,
            ping_timeout=_PING_TIMEOUT,
            idle_timeout=_IDLE_SECONDS,
            after=self._after,
        )

    def _forget_unused(self) -> None:
        """Channels without a connection cost nothing to make again."""
        for key, channel in list(self._channels.items()):
            if not channel.connected:
                del self._channels[key]
