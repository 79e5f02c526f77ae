"""gRPC methods of the configuration API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

from dapr_common.errors import DaprError
from dapr_common.grpc.server import Context, Method
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import configuration_pb2 as pb
from dapr_sidecar.blocks.configuration import ConfigurationBlock
from dapr_sidecar.components.configuration.base import Item

_SERVICE = "/dapr.proto.runtime.v1.Dapr/"
_UNREAD_LIMIT = 16


class _Stream:
    """One client's updates; a slow client holds up the store's reading, not our memory."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[pb.SubscribeConfigurationResponse] = asyncio.Queue(_UNREAD_LIMIT)
        self._end = asyncio.Event()

    async def receive(self, subscription_id: str, items: Mapping[str, Item]) -> None:
        """Queue an update; waits while the client has enough to read."""
        await self._queue.put(
            pb.SubscribeConfigurationResponse(id=subscription_id, items=_items(items))
        )

    def end(self) -> None:
        """Nothing more comes."""
        self._end.set()

    async def updates(self) -> AsyncGenerator[pb.SubscribeConfigurationResponse, None]:
        """Updates until the end."""
        end = asyncio.ensure_future(self._end.wait())
        try:
            while not self._end.is_set():
                update = asyncio.ensure_future(self._queue.get())
                try:
                    await asyncio.wait((update, end), return_when=asyncio.FIRST_COMPLETED)
                    if not update.done():
                        return
                finally:
                    update.cancel()
                yield update.result()
        finally:
            end.cancel()


def methods(block: ConfigurationBlock) -> list[Method]:
    """The methods of the configuration API, stable and alpha."""

    async def get(
        request: pb.GetConfigurationRequest, context: Context
    ) -> pb.GetConfigurationResponse:
        keys = sorted(request.keys)
        found = await block.get(request.store_name, keys, dict(request.metadata))
        return pb.GetConfigurationResponse(items=_items(found))

    async def subscribe(
        request: pb.SubscribeConfigurationRequest, context: Context
    ) -> AsyncIterator[pb.SubscribeConfigurationResponse]:
        stream, store = _Stream(), request.store_name
        metadata = dict(request.metadata)
        found = await block.subscribe(
            store, sorted(request.keys), metadata, stream.receive, stream.end
        )
        try:
            yield pb.SubscribeConfigurationResponse(id=found)
            async with aclosing(stream.updates()) as updates:
                async for update in updates:
                    yield update
        finally:
            await block.forget(found)

    async def unsubscribe(
        request: pb.UnsubscribeConfigurationRequest, context: Context
    ) -> pb.UnsubscribeConfigurationResponse:
        try:
            await block.unsubscribe(request.store_name, request.id)
        except DaprError as error:
            return pb.UnsubscribeConfigurationResponse(ok=False, message=error.message)
        return pb.UnsubscribeConfigurationResponse(ok=True)

    found: list[Method] = []
    for suffix in ("", "Alpha1"):
        found += [
            Method(
                f"{_SERVICE}GetConfiguration{suffix}",
                "unary_unary",
                pb.GetConfigurationRequest,
                pb.GetConfigurationResponse,
                get,
            ),
            Method(
                f"{_SERVICE}SubscribeConfiguration{suffix}",
                "unary_stream",
                pb.SubscribeConfigurationRequest,
                pb.SubscribeConfigurationResponse,
                subscribe,
            ),
            Method(
                f"{_SERVICE}UnsubscribeConfiguration{suffix}",
                "unary_unary",
                pb.UnsubscribeConfigurationRequest,
                pb.UnsubscribeConfigurationResponse,
                unsubscribe,
            ),
        ]
    return found


def _items(items: Mapping[str, Item]) -> dict[str, common_pb2.ConfigurationItem]:
    return {
        key: common_pb2.ConfigurationItem(
            value=item.value, version=item.version, metadata=item.metadata
        )
        for key, item in items.items()
    }
