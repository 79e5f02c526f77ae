"""State stores: the required interface, value forms and optional abilities."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

from dapr_sidecar.components.base import Component

_EMPTY: Mapping[str, str] = {}
R = TypeVar("R")


class Feature(Enum):
    """What a store reports in the metadata API, in Dapr's words."""

    ETAG = "ETAG"
    TRANSACTIONAL = "TRANSACTIONAL"
    QUERY_API = "QUERY_API"
    TTL = "TTL"
    DELETE_WITH_PREFIX = "DELETE_WITH_PREFIX"
    PARTITION_KEY = "PARTITION_KEY"
    KEYS_LIKE = "KEYS_LIKE"


@dataclass(slots=True)
class Json:
    """A value that arrived as JSON: the decoded native value. The store chooses the encoding."""

    value: object


StateValue = bytes | Json


@dataclass(slots=True)
class GetRequest:
    """Read one stored key (already prefixed)."""

    key: str
    metadata: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    consistency: str = ""


@dataclass(slots=True)
class GetResponse:
    """``data=None`` means absent."""

    data: bytes | None = None
    etag: str | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    content_type: str | None = None


@dataclass(slots=True)
class SetRequest:
    """Write one stored key. ``etag=None`` means none was given."""

    key: str
    value: StateValue
    etag: str | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    concurrency: str = ""
    consistency: str = ""
    content_type: str | None = None


@dataclass(slots=True)
class DeleteRequest:
    """Delete one stored key."""

    key: str
    etag: str | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    concurrency: str = ""
    consistency: str = ""


@dataclass(slots=True)
class BulkGetItem:
    """One answer of a bulk read."""

    key: str
    data: bytes | None = None
    etag: str | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    error: str = ""


class EtagError(Exception):
    """An optimistic lock failed; ``invalid`` when the etag itself is not one of this store's."""

    def __init__(self, message: str = "", *, invalid: bool = False) -> None:
        known = "invalid etag value" if invalid else "possible etag mismatch"
        joint = ": " if invalid else ". error from state store: "
        super().__init__(known + joint + message if message else known)
        self.invalid = invalid


class BulkError(Exception):
    """Some items of a bulk write failed: index in the request → error."""

    def __init__(self, errors: Mapping[int, Exception]) -> None:
        super().__init__("\n".join(str(error) for error in errors.values()))
        self.errors = errors


TransactionOperation = SetRequest | DeleteRequest


class StateStore(Component):
    """Required of every state store. Errors other than ``EtagError`` are internal ones."""

    features: ClassVar[frozenset[Feature]] = frozenset()
    feature_order: ClassVar[tuple[Feature, ...]] = ()

    @abstractmethod
    async def get(self, request: GetRequest) -> GetResponse: ...

    @abstractmethod
    async def set(self, request: SetRequest) -> None: ...

    @abstractmethod
    async def delete(self, request: DeleteRequest) -> None: ...

    async def bulk_get(self, requests: Sequence[GetRequest], parallelism: int) -> list[BulkGetItem]:
        """Read many keys, in request order; a failed one carries its error."""
        gate = asyncio.Semaphore(parallelism) if parallelism > 0 else None

        async def one(request: GetRequest) -> BulkGetItem:
            try:
                if gate is None:
                    found = await self.get(request)
                else:
                    async with gate:
                        found = await self.get(request)
            except Exception as error:  # noqa: BLE001 - reported per item, by contract
                return BulkGetItem(request.key, error=str(error))
            return BulkGetItem(request.key, found.data, found.etag, found.metadata)

        return list(await asyncio.gather(*map(one, requests)))

    async def bulk_set(self, requests: Sequence[SetRequest]) -> None:
        """Write all in parallel, without order or atomicity. Raises ``BulkError``."""
        await _all(self.set(request) for request in requests)

    async def bulk_delete(self, requests: Sequence[DeleteRequest]) -> None:
        """Delete all in parallel. Raises ``BulkError``."""
        await _all(self.delete(request) for request in requests)


async def _all(calls: Iterable[Awaitable[None]]) -> None:
    results = await asyncio.gather(*calls, return_exceptions=True)
    errors = {i: r for i, r in enumerate(results) if isinstance(r, Exception)}
    if errors:
        raise BulkError(errors)


async def one_by_one(
    call: Callable[[R], Awaitable[None]],
    requests: Iterable[tuple[int, R]],
    errors: Mapping[int, Exception] = MappingProxyType({}),
) -> None:
    """Make the calls of a bulk write that cannot be made together, each by its index.

    ``errors`` are those of items that failed before. Raises ``BulkError``, in the items' order.
    """
    found = dict(errors)
    for index, request in requests:
        try:
            await call(request)
        except Exception as error:  # noqa: BLE001 - reported per item, by contract
            found[index] = error
    if found:
        raise BulkError(dict(sorted(found.items())))


@runtime_checkable
class Transactional(Protocol):
    """A store that applies several operations as one."""

    async def transact(
        self, operations: Sequence[TransactionOperation], metadata: Mapping[str, str]
    ) -> None: ...


@runtime_checkable
class TransactionLimited(Protocol):
    """A transactional store with a largest number of operations."""

    @property
    def max_operations(self) -> int: ...


@dataclass(slots=True)
class QueryResult:
    """One page of a query."""

    items: list[BulkGetItem]
    token: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: _EMPTY)


@runtime_checkable
class Queryable(Protocol):
    """A store with the query API; ``query`` is the parsed request body."""

    async def query(
        self, query: Mapping[str, object], metadata: Mapping[str, str]
    ) -> QueryResult: ...
