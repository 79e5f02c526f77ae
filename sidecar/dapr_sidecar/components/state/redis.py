"""``state.redis``: Dapr's hash layout, byte for byte, so that Go sidecars share the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.redis.client import Script
from dapr_sidecar.components.redis.cluster import redis_client
from dapr_sidecar.components.redis.connection import RedisConnectionError, RedisError
from dapr_sidecar.components.redis.settings import RedisSettings
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import (
    DeleteRequest,
    EtagError,
    Feature,
    GetRequest,
    GetResponse,
    Json,
    QueryResult,
    SetRequest,
    StateStore,
    TransactionOperation,
)
from dapr_sidecar.components.state.query import QueryError, parse_query
from dapr_sidecar.components.state.redis_query import (
    Index,
    next_token,
    parse_indexes,
    read_reply,
    search,
)

# Fields: data, version (a counter), first-write (only after such a write). ARGV: the version that
# is expected or 0, the data, 0 for first-write else 1.
_SET = Script("""
local kind = redis.call('TYPE', KEYS[1])['ok']
local version = false
if kind == 'hash' then
  version = redis.call('HGET', KEYS[1], 'version')
elseif kind ~= 'none' then
  redis.call('DEL', KEYS[1])
end
if not version or version == '' or version == ARGV[1]
  or (ARGV[1] == '0' and redis.call('HEXISTS', KEYS[1], 'first-write') == 0) then
  redis.call('HSET', KEYS[1], 'data', ARGV[2])
  if ARGV[3] == '0' then
    redis.call('HSET', KEYS[1], 'first-write', 0)
  end
  return redis.call('HINCRBY', KEYS[1], 'version', 1)
end
return redis.error_reply('failed to set key ' .. KEYS[1])
""")
_DELETE = Script("""
local version = redis.call('HGET', KEYS[1], 'version')
if not version or version == ARGV[1] or ARGV[1] == '0' then
  return redis.call('DEL', KEYS[1])
end
return redis.error_reply('failed to delete ' .. KEYS[1])
""")
_SET_JSON = Script("""
local found = redis.pcall('JSON.GET', KEYS[1], '.version')
local version = false
if type(found) == 'string' then version = found end
local first = redis.pcall('JSON.GET', KEYS[1], '.first-write')
if not version or version == ARGV[1] or (ARGV[1] == '0' and type(first) ~= 'string') then
  redis.call('JSON.SET', KEYS[1], '$', ARGV[2])
  if ARGV[3] == '0' then
    redis.call('JSON.SET', KEYS[1], '.first-write', 0)
  end
  local number = tonumber(version or '0') or 0
  return redis.call('JSON.SET', KEYS[1], '.version', number + 1)
end
return redis.error_reply('failed to set key ' .. KEYS[1])
""")
_DELETE_JSON = Script("""
local found = redis.pcall('JSON.GET', KEYS[1], '.version')
local version = type(found) == 'string' and found or false
if not version or version == ARGV[1] or ARGV[1] == '0' then
  return redis.call('JSON.DEL', KEYS[1])
end
return redis.error_reply('failed to delete ' .. KEYS[1])
""")
_JSON_TYPE = "application/json"
_WAIT_MILLISECONDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisStateSettings(RedisSettings):
    """The shared connection settings and this store's own."""

    ttl: int | None = setting("ttlInSeconds", default=None, help="expiry of writes without one")
    query_indexes: str = setting(
        "queryIndexes", default="", help="JSON list of indexes; needs a server with RediSearch"
    )


class RedisStateStore(StateStore):
    """Redis hashes with a version counter as etag."""

    settings: ClassVar[type[Any]] = RedisStateSettings
    features = frozenset({Feature.ETAG, Feature.TRANSACTIONAL, Feature.TTL, Feature.KEYS_LIKE})
    feature_order: ClassVar[tuple[Feature, ...]] = (
        Feature.ETAG,
        Feature.TRANSACTIONAL,
        Feature.TTL,
        Feature.KEYS_LIKE,
    )

    def __init__(self, settings: RedisStateSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._ttl = settings.ttl
        self._indexes = parse_indexes(settings.query_indexes)
        self._client = redis_client(settings)
        self._has_json = False
        self._replicas = 0

    async def open(self) -> None:
        await self._client.open()
        self._has_json = await self._probe_json()
        self._replicas = await self._count_replicas()
        if self._has_json:
            self.feature_order = (*type(self).feature_order, Feature.QUERY_API)  # type: ignore[misc]
            self.features = frozenset(self.feature_order)  # type: ignore[misc]
        for index in self._indexes.values():
            await self._create_index(index)

    async def close(self) -> None:
        await self._client.close()

    async def ping(self) -> None:
        await self._client.ping()

    async def get(self, request: GetRequest) -> GetResponse:
        if self._has_json and request.metadata.get("contentType") == _JSON_TYPE:
            return await self._get_json(request.key)
        try:
            fields = await self._client.command("HGETALL", request.key)
        except RedisError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return await self._get_string(request.key)
        if not fields:
            return GetResponse()
        return _from_hash(fields)

    async def set(self, request: SetRequest) -> None:
        script, arguments = self._set_call(request, json_mode=self._json_mode(request.metadata))
        ttl = self._expiry(request.metadata)
        try:
            await self._client.run(script, (request.key,), arguments)
        except RedisError as error:
            raise _etag_or(error, request.etag) from error
        if ttl is not None:
            await self._client.command(*_expire(request.key, ttl))
        if request.consistency == "strong" and self._replicas > 0:
            await self._client.wait_for_replicas(request.key, self._replicas, _WAIT_MILLISECONDS)

    async def delete(self, request: DeleteRequest) -> None:
        version = _version(request.etag, request.concurrency)
        script = _DELETE_JSON if self._json_mode(request.metadata) else _DELETE
        try:
            await self._client.run(script, (request.key,), (version,))
        except RedisError as error:
            raise _etag_or(error, request.etag) from error

    async def transact(
        self, operations: Sequence[TransactionOperation], metadata: Mapping[str, str]
    ) -> None:
        """One MULTI/EXEC; Redis does not roll back, as in Dapr."""
        commands: list[Sequence[bytes | str | int]] = []
        etags: list[str | None] = []
        whole = metadata.get("contentType") == _JSON_TYPE
        for operation in operations:
            wanted = whole or operation.metadata.get("contentType") == _JSON_TYPE
            if isinstance(operation, SetRequest):
                script, arguments = self._set_call(operation, json_mode=wanted, first_write=False)
                commands.append(("EVAL", script.text, 1, operation.key, *arguments))
                ttl = self._expiry(operation.metadata)
                if ttl is not None:
                    commands.append(_expire(operation.key, ttl))
            else:
                version = _version(operation.etag, operation.concurrency)
                script = _DELETE_JSON if wanted else _DELETE
                commands.append(("EVAL", script.text, 1, operation.key, version))
            etags.append(operation.etag)
        for result in await self._client.transaction(commands):
            if isinstance(result, Exception):
                given = next((etag for etag in etags if etag), None)
                raise _etag_or(RedisError(str(result)), given)

    async def query(self, query: Mapping[str, object], metadata: Mapping[str, str]) -> QueryResult:
        """Search one index; its name comes in the metadata. Raises ``QueryError``."""
        if not self._has_json:
            raise QueryError("the redis server has no JSON module, which queries need")
        name = metadata.get("queryIndexName", "")
        index = self._indexes.get(name)
        if index is None:
            raise QueryError(
                f"query index '{name}' is not found: name one of queryIndexes as "
                "metadata.queryIndexName"
            )
        wanted = parse_query(query)
        items = read_reply(await self._client.command(*search(index, wanted)))
        return QueryResult(items, next_token(wanted, len(items)))

    # --- parts ------------------------------------------------------------------------------

    async def _create_index(self, index: Index) -> None:
        """Make an index anew, as it is configured now."""
        for command in (index.drop(), index.create()):
            try:
                await self._client.command(*command)
            except RedisError as error:
                text = str(error).lower()
                if "unknown command" in text:
                    raise RedisError(
                        "queryIndexes needs a redis server with the modules RediSearch and JSON"
                    ) from error
                # Not there to be dropped, or made by another sidecar at the same moment.
                if (
                    "unknown index" not in text
                    and "no such index" not in text
                    and ("already exists" not in text)
                ):
                    raise

    def _set_call(
        self, request: SetRequest, *, json_mode: bool, first_write: bool = True
    ) -> tuple[Script, tuple[bytes | str | int, ...]]:
        version = _version(request.etag, request.concurrency)
        last = b"0" if first_write and request.concurrency == "first-write" else b"1"
        data = encoding.redis(request.value)
        if json_mode:
            return _SET_JSON, (version, b'{"data":' + data + b"}", last)
        return _SET, (version, data, last)

    def _json_mode(self, metadata: Mapping[str, str]) -> bool:
        return self._has_json and metadata.get("contentType") == _JSON_TYPE

    def _expiry(self, metadata: Mapping[str, str]) -> int | None:
        try:
            found = encoding.ttl_seconds(metadata) if metadata else None
        except ValueError as error:
            raise ValueError(f"failed to parse ttl from metadata: {error}") from error
        return self._ttl if found is None else found

    async def _get_string(self, key: str) -> GetResponse:
        data = await self._client.command("GET", key)
        return GetResponse(data)

    async def _get_json(self, key: str) -> GetResponse:
        text = await self._client.command("JSON.GET", key)
        if text is None:
            return GetResponse()
        document = orjson.loads(text)
        data = encoding.redis(Json(document.get("data")))
        return GetResponse(data, str(document.get("version", "")))

    async def _probe_json(self) -> bool:
        try:
            await self._client.command("JSON.GET")
        except RedisError as error:
            return "unknown command" not in str(error).lower()
        return True

    async def _count_replicas(self) -> int:
        try:
            text: bytes = await self._client.command("INFO", "replication")
        except RedisError:
            return 0  # a restricted user may not ask; then there is nothing to wait for
        for line in text.splitlines():
            if line.startswith(b"connected_slaves:"):
                return int(line.partition(b":")[2])
        return 0


def _from_hash(fields: Sequence[bytes]) -> GetResponse:
    data = version = None
    for index in range(0, len(fields), 2):
        name = fields[index]
        if name == b"data":
            data = fields[index + 1]
        elif name == b"version":
            version = fields[index + 1]
    if data is None or version is None:
        raise RedisError("required hash field 'data' or 'version' was not found")
    return GetResponse(data, version.decode())


def _version(etag: str | None, concurrency: str) -> bytes:
    if not etag or concurrency == "last-write":
        return b"0"
    try:
        return b"%d" % int(etag)
    except ValueError:
        raise EtagError(f"'{etag}' is not a version number", invalid=True) from None


def _expire(key: str, ttl: int) -> tuple[str | int, ...]:
    return ("EXPIRE", key, ttl) if ttl > 0 else ("PERSIST", key)


def _etag_or(error: RedisError, etag: str | None) -> Exception:
    text = str(error)
    if "failed to set key" in text or "failed to delete" in text:
        if etag:
            return EtagError(text)
        return RedisError(text)
    return error


__all__ = ["RedisConnectionError", "RedisStateSettings", "RedisStateStore"]
