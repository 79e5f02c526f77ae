"""The actor state store as state and reminders use it: its policy, a deadline, one count a call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from dapr_sidecar.blocks.actors import errors
from dapr_sidecar.blocks.actors.store import actor_store
from dapr_sidecar.blocks.outbound import measured
from dapr_sidecar.components.state.base import (
    BulkGetItem,
    DeleteRequest,
    EtagError,
    GetRequest,
    GetResponse,
    SetRequest,
    StateStore,
    Transactional,
    TransactionLimited,
    TransactionOperation,
)
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.resiliency.base import AnsweredError, PermanentError

T = TypeVar("T")
_KIND = "Statestore"
_SECONDS = 60.0
"""No call to a store takes longer, retries of its policy included."""
_PARALLEL = 50
PARTITION_KEY = "partitionKey"

MayWrite = Callable[[], bool]
"""Asked before each attempt, those of retries included."""


class ForbiddenError(Exception):
    """The one on whose behalf this was to be written lost the right to it meanwhile."""

    def __init__(self) -> None:
        super().__init__("the actor left this sidecar")


class StoreTimeoutError(Exception):
    """The store did not answer in time."""

    def __init__(self) -> None:
        super().__init__(f"the actor state store did not answer within {_SECONDS:g} s")


class ActorStore:
    """Whatever store is live at each call. Calls raise what the store raises.

    Without an actor state store every call raises ``ERR_ACTOR_RUNTIME_NOT_FOUND``.
    """

    def __init__(self, context: SidecarContext) -> None:
        self._context = context

    @property
    def is_there(self) -> bool:
        """Whether a store is live."""
        return actor_store(self._context.components) is not None

    def check(self) -> None:
        """Raise ``DaprError`` when there is none."""
        self._live()

    def max_operations(self) -> int | None:
        """The most operations of one transaction, if there is a limit. Raises ``DaprError``."""
        store = self._live()[1]
        return store.max_operations if isinstance(store, TransactionLimited) else None

    async def get(self, key: str, partition_key: str) -> GetResponse:
        """Read one record; ``data=None`` when absent."""
        name, store = self._live()
        return await self._call(
            name, "get", partial(store.get, GetRequest(key, {PARTITION_KEY: partition_key}))
        )

    async def bulk_get(self, requests: Sequence[GetRequest]) -> dict[str, BulkGetItem]:
        """Read many records, by key. Raises ``OSError`` when one of them cannot be read."""
        name, store = self._live()
        call = partial(store.bulk_get, requests, _PARALLEL)
        items = await self._call(name, "bulk_get", call)
        for item in items:
            if item.error:
                raise OSError(f"the record {item.key} cannot be read: {item.error}")
        return {item.key: item for item in items}

    async def set(self, request: SetRequest, may: MayWrite | None = None) -> None:
        """Write one record, while ``may`` allows it. Raises ``ForbiddenError`` when it does not."""
        name, store = self._live()
        await self._call(name, "set", partial(store.set, request), may)

    async def bulk_delete(self, keys: Sequence[str]) -> None:
        """Delete records whose keys are their partition keys."""
        name, store = self._live()
        requests = [DeleteRequest(key) for key in keys]
        await self._call(name, "bulk_delete", partial(store.bulk_delete, requests))

    async def transact(
        self,
        operations: Sequence[TransactionOperation],
        metadata: Mapping[str, str],
        may: MayWrite | None = None,
    ) -> None:
        """Apply operations as one, while ``may`` allows it. Raises as ``set`` does."""
        name, store = self._live()
        assert isinstance(store, Transactional)
        await self._call(name, "transaction", partial(store.transact, operations, metadata), may)

    def _live(self) -> tuple[str, StateStore]:
        loaded = actor_store(self._context.components)
        if loaded is None:
            raise errors.runtime_not_found()
        return loaded.manifest.name, loaded.component

    async def _call(
        self,
        name: str,
        operation: str,
        call: Callable[[], Awaitable[T]],
        may: MayWrite | None = None,
    ) -> T:
        try:
            async with asyncio.timeout(_SECONDS) as limit:
                return await measured(
                    self._context, "state", _KIND, name, operation, partial(_final, call, may)
                )
        except TimeoutError:
            if limit.expired():
                raise StoreTimeoutError from None
            raise
        except PermanentError as error:
            if isinstance(error.__cause__, EtagError | ForbiddenError):
                raise error.__cause__ from None
            raise


async def _final(call: Callable[[], Awaitable[T]], may: MayWrite | None) -> T:
    """One attempt; no policy repeats what failed by an etag, or what is not allowed any more."""
    try:
        if may is not None and not may():
            raise ForbiddenError
        return await call()
    except EtagError as error:
        raise AnsweredError(str(error)) from error
    except ForbiddenError as error:
        raise PermanentError(str(error)) from error
