"""``lock.redis``: one key per lock, which expires by itself."""

from __future__ import annotations

from typing import Any, ClassVar

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.lock.base import LockStore, UnlockStatus
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.redis.client import Script
from dapr_sidecar.components.redis.cluster import redis_client
from dapr_sidecar.components.redis.settings import LongPauseRedisSettings

_UNLOCK = Script("""
local owner = redis.call('GET', KEYS[1])
if not owner then
  return -1
end
if owner ~= ARGV[1] then
  return -2
end
return redis.call('DEL', KEYS[1])
""")
_STATUS = {
    1: UnlockStatus.SUCCESS,
    -1: UnlockStatus.LOCK_DOES_NOT_EXIST,
    -2: UnlockStatus.LOCK_BELONGS_TO_OTHERS,
}


class RedisLockStore(LockStore):
    """A lock is not renewed: its owner, too, gets it again only after it ended."""

    settings: ClassVar[type[Any]] = LongPauseRedisSettings

    def __init__(self, settings: LongPauseRedisSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._client = redis_client(settings)
        self._failover = settings.failover

    async def open(self) -> None:
        await self._client.open()
        replicas = 0 if self._failover else await self._count_replicas()
        if replicas:
            # A replica that takes over may not know of a lock yet: two owners at once.
            raise SettingsError(
                f"invalid metadata field 'redisHost': the server has {replicas} replicas, "
                "locks need one without"
            )

    async def close(self) -> None:
        await self._client.close()

    async def ping(self) -> None:
        await self._client.ping()

    async def try_lock(self, resource_id: str, owner: str, expiry_seconds: int) -> bool:
        answer = await self._client.command("SET", resource_id, owner, "NX", "EX", expiry_seconds)
        return answer is not None

    async def unlock(self, resource_id: str, owner: str) -> UnlockStatus:
        answer = await self._client.run(_UNLOCK, (resource_id,), (owner,))
        return _STATUS.get(answer, UnlockStatus.INTERNAL_ERROR)

    async def _count_replicas(self) -> int:
        info: bytes = await self._client.command("INFO", "replication")
        for line in info.split(b"\n"):
            if line.startswith(b"connected_slaves:"):
                return int(line.partition(b":")[2])
        return 0
