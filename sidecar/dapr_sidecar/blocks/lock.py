"""What the lock API means, for both transports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.kube import resources
from dapr_sidecar.components.lock.base import LockStore, UnlockStatus
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.loaded import Loaded

T = TypeVar("T")
_SEPARATOR = "||"
_ROOT = "lock" + _SEPARATOR


class LockBlock:
    """Try to lock, and unlock."""

    def __init__(self, context: SidecarContext) -> None:
        self.context = context

    def prepare(self, manifest: resources.Component, properties: dict[str, str]) -> str:
        """What is put before a component's resource ids. Raises ``SettingsError``."""
        strategy = properties.get("keyprefix", "").lower()
        if _SEPARATOR in strategy:
            raise SettingsError(
                f"invalid metadata field 'keyPrefix': '{strategy}' can't contain '{_SEPARATOR}'"
            )
        if strategy == "none":
            return _ROOT
        words = {"": self.context.identity.app_id, "appid": self.context.identity.app_id}
        words["name"] = manifest.name
        return f"{_ROOT}{words.get(strategy, strategy)}{_SEPARATOR}"

    async def try_lock(self, store: str, resource_id: str, owner: str, expiry_seconds: int) -> bool:
        """Whether the lock is now the owner's. Raises ``DaprError``."""
        if expiry_seconds <= 0:
            raise _malformed(f"ExpiryInSeconds is not positive in lock store {store}")
        loaded = self._checked(store, resource_id, owner)

        def failed(cause: object) -> DaprError:
            return DaprError("ERR_TRY_LOCK", f"failed to try acquiring lock: {cause}")

        key = _key(loaded, resource_id, failed)
        component = loaded.component
        return await self._call(
            store, failed, lambda: component.try_lock(key, owner, expiry_seconds)
        )

    async def unlock(self, store: str, resource_id: str, owner: str) -> UnlockStatus:
        """What became of the lock. Raises ``DaprError``."""
        loaded = self._checked(store, resource_id, owner)

        def failed(cause: object) -> DaprError:
            return DaprError("ERR_UNLOCK", f"failed to release lock: {cause}")

        key = _key(loaded, resource_id, failed)
        component = loaded.component
        return await self._call(store, failed, lambda: component.unlock(key, owner))

    def _checked(self, store: str, resource_id: str, owner: str) -> Loaded[LockStore]:
        stores = self.context.components.locks
        if not stores:
            raise DaprError(
                "ERR_LOCK_STORE_NOT_CONFIGURED",
                "lock store is not configured",
                grpc_code=GrpcCode.FAILED_PRECONDITION,
            )
        if not resource_id:
            raise _malformed(f"ResourceId is empty in lock store {store}")
        if not owner:
            raise _malformed(f"LockOwner is empty in lock store {store}")
        loaded = stores.get(store)
        if loaded is None:
            raise DaprError(
                "ERR_LOCK_STORE_NOT_FOUND",
                f"lock store {store} not found",
                http_status=400,
                grpc_code=GrpcCode.INVALID_ARGUMENT,
            )
        return loaded

    async def _call(
        self,
        store: str,
        failed: Callable[[object], DaprError],
        call: Callable[[], Awaitable[T]],
    ) -> T:
        runner = self.context.policies.component_outbound(store, "Lock")
        try:
            return await (call() if runner is None else runner.run(call))
        except Exception as error:
            raise failed(error) from error


def _key(loaded: Loaded[LockStore], resource_id: str, failed: Callable[[object], DaprError]) -> str:
    if _SEPARATOR in resource_id:
        raise failed(f"input key/keyPrefix '{resource_id}' can't contain '{_SEPARATOR}'")
    prefix = loaded.extra
    assert isinstance(prefix, str)
    return prefix + resource_id


def _malformed(text: str) -> DaprError:
    return DaprError(
        "ERR_MALFORMED_REQUEST", text, http_status=400, grpc_code=GrpcCode.INVALID_ARGUMENT
    )
