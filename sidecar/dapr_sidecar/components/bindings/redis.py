"""``bindings.redis``: plain keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dapr_common.words import is_truthy
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import InvokeRequest, InvokeResponse, OutputBinding
from dapr_sidecar.components.redis.cluster import redis_client
from dapr_sidecar.components.redis.settings import RedisSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisBindingSettings(RedisSettings):
    """The shared connection settings."""


class RedisBinding(OutputBinding):
    """``create``, ``get``, ``delete`` and ``increment`` of the key named in the metadata."""

    settings: ClassVar[type[Any]] = RedisBindingSettings
    operations = ("create", "delete", "get", "increment")

    def __init__(self, settings: RedisBindingSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._client = redis_client(settings)

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def ping(self) -> None:
        await self._client.ping()

    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None:
        key = request.metadata.get("key", "")
        if not key:
            raise ValueError("redis binding: missing key in request metadata")
        if request.operation == "get":
            return await self._get(key, is_truthy(request.metadata.get("delete", "")))
        if request.operation == "delete":
            await self._client.command("DEL", key)
        elif request.operation == "increment":
            count = await self._client.command("INCR", key)
            await self._expire(key, request)
            return InvokeResponse(str(count).encode())
        elif request.operation == "create":
            await self._set(key, request)
        else:
            raise ValueError(f"invalid operation type: {request.operation}")
        return None

    async def _get(self, key: str, delete: bool) -> InvokeResponse:
        value = await self._client.command("GETDEL" if delete else "GET", key)
        return InvokeResponse(b"" if value is None else bytes(value))

    async def _set(self, key: str, request: InvokeRequest) -> None:
        # One command with the expiry inside: a failure between two would leave a key for ever.
        ttl = _ttl(request)
        if ttl is None:
            await self._client.command("SET", key, request.data)
        elif ttl > 0:
            await self._client.command("SET", key, request.data, "EX", ttl)
        else:
            await self._client.command("DEL", key)

    async def _expire(self, key: str, request: InvokeRequest) -> None:
        if (ttl := _ttl(request)) is not None:
            await self._client.command("EXPIRE", key, ttl)


def _ttl(request: InvokeRequest) -> int | None:
    text = request.metadata.get("ttlInSeconds", "").strip()
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f"incorrect value for metadata 'ttlInSeconds': '{text}' is no whole number"
        ) from None
