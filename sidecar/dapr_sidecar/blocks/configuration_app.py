"""Configuration updates to the app, for subscriptions made over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import quote

import orjson
from google.protobuf import any_pb2

from dapr_common.errors import DaprError
from dapr_common.grpc.errors import RpcError
from dapr_common.http.messages import Header
from dapr_common.observe.logs import get_logger
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_sidecar.channel.base import AppUnhealthyError, GrpcAppChannel, HttpAppChannel
from dapr_sidecar.components.configuration.base import Item
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.resiliency.base import CodedError

_LOG = get_logger("dapr.runtime.configuration")
_ON_INVOKE = "/dapr.proto.runtime.v1.AppCallback/OnInvoke"
_JSON: Header = (b"Content-Type", b"application/json")
_PATH_SAFE = "/:@!$&'()*+,;=-._~"
_UNHEALTHY_PAUSE = 1.0
_ANSWER_SECONDS = 60.0


def item_json(item: Item) -> dict[str, object]:
    """An item as JSON has it: empty members left out."""
    pairs = (("value", item.value), ("version", item.version), ("metadata", dict(item.metadata)))
    return {name: value for name, value in pairs if value}


class AppUpdates:
    """The receiver of one store's updates: one call to the app for each key."""

    def __init__(self, context: SidecarContext, store: str) -> None:
        """Raises ``DaprError`` when there is no app to call."""
        if context.channel is None:
            raise DaprError(
                "ERR_APP_CHANNEL_NIL",
                "app channel is not initialized. cannot subscribe to configuration updates",
            )
        self._context = context
        self._store = store

    async def __call__(self, subscription_id: str, items: Mapping[str, Item]) -> None:
        for key, item in items.items():
            body = orjson.dumps({"id": subscription_id, "items": {key: item_json(item)}}) + b"\n"
            try:
                await self._deliver(key, body)
            except Exception as error:  # noqa: BLE001 - logged and dropped, as Dapr does
                _LOG.error("error sending configuration item %s to the app: %s", key, error)

    async def _deliver(self, key: str, body: bytes) -> None:
        """Send one update; an app that is not healthy is waited for."""
        while True:
            runner = self._context.policies.component_inbound(self._store, "Configuration")
            try:
                if runner is None:
                    await self._send(key, body)
                else:
                    await runner.run(lambda: self._send(key, body))
            except AppUnhealthyError:
                await asyncio.sleep(_UNHEALTHY_PAUSE)
            else:
                return

    async def _send(self, key: str, body: bytes) -> None:
        channel = self._context.channel
        assert channel is not None
        async with asyncio.timeout(_ANSWER_SECONDS):
            if channel.kind == "http":
                await self._post(channel, key, body)
            else:
                await self._call(channel, key, body)

    async def _post(self, channel: HttpAppChannel, key: str, body: bytes) -> None:
        target = "/" + quote(f"configuration/{self._store}/{key}", safe=_PATH_SAFE)
        response = await channel.request("POST", target.encode(), [_JSON], body)
        await response.read()
        if response.status != 200:
            raise CodedError(
                response.status,
                f"error sending configuration item to application, status {response.status}",
            )

    async def _call(self, channel: GrpcAppChannel, key: str, body: bytes) -> None:
        request = common_pb2.InvokeRequest(
            method=f"configuration/{self._store}/{key}",
            data=any_pb2.Any(value=body),
            content_type="application/json",
            http_extension=common_pb2.HTTPExtension(verb=common_pb2.HTTPExtension.POST),
        )
        try:
            await channel.unary(
                _ON_INVOKE, request, common_pb2.InvokeResponse, timeout=_ANSWER_SECONDS
            )
        except RpcError as error:
            raise CodedError(int(error.code), str(error)) from error
