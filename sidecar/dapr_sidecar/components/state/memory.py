"""``state.in-memory``: everything lives in this process and ends with it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dapr_common.moments import rfc3339
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import (
    DeleteRequest,
    EtagError,
    Feature,
    GetRequest,
    GetResponse,
    SetRequest,
    StateStore,
    TransactionOperation,
)

_SWEEP_SECONDS = 1.0
_END_OF_CALENDAR = 253_402_300_799.0
"""The last second of the year 9999: RFC 3339 has no later one."""


@dataclass(frozen=True, slots=True)
class InMemorySettings:
    """There is nothing to set."""


@dataclass(slots=True)
class _Record:
    data: bytes
    etag: str
    expires: float | None


class InMemoryStateStore(StateStore):
    """A dictionary with etags and expiry."""

    settings: ClassVar[type[Any]] = InMemorySettings
    features = frozenset(
        {
            Feature.ETAG,
            Feature.TRANSACTIONAL,
            Feature.TTL,
            Feature.DELETE_WITH_PREFIX,
            Feature.KEYS_LIKE,
        }
    )
    feature_order = (
        Feature.ETAG,
        Feature.TRANSACTIONAL,
        Feature.TTL,
        Feature.DELETE_WITH_PREFIX,
        Feature.KEYS_LIKE,
    )

    def __init__(
        self, settings: Any, context: ComponentContext, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(settings, context)
        self._records: dict[str, _Record] = {}
        self._clock = clock
        self._sweeper: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        self._schedule(asyncio.get_running_loop())

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._records.clear()

    async def get(self, request: GetRequest) -> GetResponse:
        record = self._live(request.key)
        if record is None:
            return GetResponse()
        return GetResponse(record.data, record.etag, _expiry_metadata(record))

    async def set(self, request: SetRequest) -> None:
        self._check_set(request)
        self._write(request)

    async def delete(self, request: DeleteRequest) -> None:
        self._check_delete(request)
        self._records.pop(request.key, None)

    async def transact(
        self, operations: Sequence[TransactionOperation], metadata: Mapping[str, str]
    ) -> None:
        """Check everything, then apply everything."""
        for operation in operations:
            if isinstance(operation, SetRequest):
                self._check_set(operation)
            else:
                self._check_delete(operation)
        for operation in operations:
            if isinstance(operation, SetRequest):
                self._write(operation)
            else:
                self._records.pop(operation.key, None)

    def _live(self, key: str) -> _Record | None:
        record = self._records.get(key)
        if record is not None and record.expires is not None and record.expires <= self._clock():
            del self._records[key]
            return None
        return record

    def _check_set(self, request: SetRequest) -> None:
        encoding.ttl_seconds(request.metadata)
        record = self._live(request.key)
        if request.etag is not None:
            _check_etag(request.key, request.etag, record)
        elif request.concurrency == "first-write" and record is not None:
            raise EtagError(f"item already exists and no etag was passed for key {request.key}")

    def _check_delete(self, request: DeleteRequest) -> None:
        if request.etag is not None:
            _check_etag(request.key, request.etag, self._live(request.key))

    def _write(self, request: SetRequest) -> None:
        seconds = encoding.ttl_seconds(request.metadata)
        expires = None
        if seconds is not None and seconds > 0:
            expires = min(self._clock() + seconds, _END_OF_CALENDAR)
        data = encoding.plain(request.value)
        self._records[request.key] = _Record(data, str(uuid.uuid4()), expires)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = self._clock()
        gone = [k for k, r in self._records.items() if r.expires is not None and r.expires <= now]
        for key in gone:
            del self._records[key]
        self._schedule(loop)


def _check_etag(key: str, wanted: str, record: _Record | None) -> None:
    current = "" if record is None else record.etag
    if current != wanted:
        raise EtagError(f"state etag not match for key={key}: current={current}, expect={wanted}")


def _expiry_metadata(record: _Record) -> Mapping[str, str]:
    if record.expires is None:
        return {}
    return {"ttlExpireTime": rfc3339(record.expires)}
