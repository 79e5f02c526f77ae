"""What both versions of the etcd state store have in common: keys, leases, transactions."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dapr_common.wire.etcd import etcd_pb2 as pb
from dapr_common.words import is_truthy
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.etcd.client import EtcdClient
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.pem import client_context
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import (
    BulkError,
    BulkGetItem,
    DeleteRequest,
    EtagError,
    Feature,
    GetRequest,
    GetResponse,
    SetRequest,
    StateStore,
    TransactionOperation,
)

_SECONDS = 5.0
_KEYS_PER_READ = 32  # a value is 1.5 MB at most: so many fit into one answer
_LARGEST_REVISION = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdStateSettings:
    """Names and defaults of Dapr's etcd store."""

    endpoints: tuple[str, ...] = setting("endpoints", help="host:port of the members, with commas")
    key_prefix_path: str = setting(
        "keyPrefixPath", default="", help="put before every key, with a slash between"
    )
    max_operations: int = setting(
        "maxTxnOps", default=128, help="largest transaction; the servers have such a limit, too"
    )
    tls_enable: bool = setting("tlsEnable", default=False, parse=is_truthy, help="connect with TLS")
    ca: str = setting("ca", default="", help="certificates that vouch for the servers, PEM")
    cert: str = setting("cert", default="", help="certificate of this client, PEM")
    key: str = setting("key", default="", secret=True, help="its key, PEM")


class EtcdStateStore(StateStore):
    """A key's revision is its etag; a lease takes it away when it expires."""

    features = frozenset({Feature.ETAG, Feature.TRANSACTIONAL, Feature.TTL, Feature.KEYS_LIKE})
    feature_order: ClassVar[tuple[Feature, ...]] = (
        Feature.ETAG,
        Feature.TRANSACTIONAL,
        Feature.TTL,
        Feature.KEYS_LIKE,
    )

    def __init__(self, settings: EtcdStateSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        if settings.max_operations < 1:
            raise SettingsError(
                f"invalid metadata field 'maxTxnOps': '{settings.max_operations}': "
                "expected 1 or more"
            )
        self._prefix = settings.key_prefix_path + "/"
        self._limit = settings.max_operations
        tls = None
        if settings.tls_enable:
            tls = client_context(
                ca=settings.ca,
                certificate=settings.cert,
                key=settings.key,
                names=("ca", "cert", "key"),
            )
        endpoints = [_address(one) for one in settings.endpoints]
        self._client = EtcdClient(endpoints, seconds=_SECONDS, tls=tls)

    @abstractmethod
    def _encoded(self, request: SetRequest, ttl: int | None) -> bytes: ...

    @abstractmethod
    def _decoded(self, value: bytes) -> tuple[bytes, dict[str, str]]:
        """The data and what else is known of it."""

    @property
    def max_operations(self) -> int:
        """The largest number of operations in a transaction."""
        return self._limit

    async def open(self) -> None:
        await self.ping()

    async def close(self) -> None:
        await self._client.close()

    async def ping(self) -> None:
        await self._client.status()

    # --- one key ----------------------------------------------------------------------------

    async def get(self, request: GetRequest) -> GetResponse:
        found = await self._client.range(pb.RangeRequest(key=self._key(request.key)))
        return self._response(found.kvs[0]) if found.kvs else GetResponse()

    async def set(self, request: SetRequest) -> None:
        await self._commit([request])

    async def delete(self, request: DeleteRequest) -> None:
        await self._commit([request])

    # --- several ----------------------------------------------------------------------------

    async def bulk_get(self, requests: Sequence[GetRequest], parallelism: int) -> list[BulkGetItem]:
        """Many keys with each request, in the order they were asked for."""
        keys = [request.key for request in requests]
        size = min(_KEYS_PER_READ, self._limit)
        items: list[BulkGetItem] = []
        for start in range(0, len(keys), size):
            part = keys[start : start + size]
            reads = [pb.RequestOp(request_range=pb.RangeRequest(key=self._key(k))) for k in part]
            answer = await self._client.transact(pb.TxnRequest(success=reads))
            for key, one in zip(part, answer.responses, strict=True):
                kvs = one.response_range.kvs
                found = self._response(kvs[0]) if kvs else GetResponse()
                items.append(BulkGetItem(key, found.data, found.etag, found.metadata))
        return items

    async def bulk_set(self, requests: Sequence[SetRequest]) -> None:
        await self._bulk(requests)

    async def bulk_delete(self, requests: Sequence[DeleteRequest]) -> None:
        await self._bulk(requests)

    async def _bulk(self, requests: Sequence[TransactionOperation]) -> None:
        """What has no condition goes together; what has one fails or succeeds alone."""
        errors: dict[int, Exception] = {}
        together: list[TransactionOperation] = []
        for index, request in enumerate(requests):
            try:
                if _is_conditional(request):
                    await self._commit([request])
                else:
                    _ttl(request)  # a wrong one is an error of this item alone
                    together.append(request)
            except Exception as error:  # noqa: BLE001 - reported per item, by contract
                errors[index] = error
        for start in range(0, len(together), self._limit):
            await self._commit(together[start : start + self._limit])
        if errors:
            raise BulkError(errors)

    async def transact(
        self, operations: Sequence[TransactionOperation], metadata: Mapping[str, str]
    ) -> None:
        """All or nothing."""
        await self._commit(operations)

    # --- parts ------------------------------------------------------------------------------

    async def _commit(self, operations: Sequence[TransactionOperation]) -> None:
        """Apply the operations as one, when all their conditions hold. Raises ``EtagError``."""
        conditions = [one for operation in operations for one in self._condition(operation)]
        # The server wants each key once in a transaction: the last operation on it counts.
        last = {operation.key: operation for operation in operations}
        leases: dict[int, int] = {}
        for ttl in {_ttl(operation) for operation in last.values()} - {None}:
            assert ttl is not None
            leases[ttl] = await self._client.grant(ttl)
        request = pb.TxnRequest(
            compare=conditions, success=[self._operation(one, leases) for one in last.values()]
        )
        if not (await self._client.transact(request)).succeeded:
            await self._give_back(leases.values())
            raise EtagError("the key was changed, or is not there" if conditions else "")

    async def _give_back(self, leases: Iterable[int]) -> None:
        await asyncio.gather(*map(self._client.revoke, leases), return_exceptions=True)

    def _condition(self, operation: TransactionOperation) -> list[pb.Compare]:
        key = self._key(operation.key)
        if operation.etag:
            return [
                pb.Compare(target=pb.Compare.MOD, key=key, mod_revision=_revision(operation.etag))
            ]
        if isinstance(operation, SetRequest) and operation.concurrency == "first-write":
            return [pb.Compare(target=pb.Compare.CREATE, key=key, create_revision=0)]
        return []

    def _operation(
        self, operation: TransactionOperation, leases: Mapping[int, int]
    ) -> pb.RequestOp:
        key = self._key(operation.key)
        if not isinstance(operation, SetRequest):
            return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))
        ttl = _ttl(operation)
        put = pb.PutRequest(
            key=key,
            value=self._encoded(operation, ttl),
            lease=0 if ttl is None else leases[ttl],
        )
        return pb.RequestOp(request_put=put)

    def _key(self, key: str) -> bytes:
        return (self._prefix + key).encode()

    def _response(self, found: pb.KeyValue) -> GetResponse:
        data, metadata = self._decoded(found.value)
        return GetResponse(data, str(found.mod_revision), metadata)


def _is_conditional(operation: TransactionOperation) -> bool:
    return bool(operation.etag) or operation.concurrency == "first-write"


def _ttl(operation: TransactionOperation) -> int | None:
    """Seconds of a write that expires. Raises ``ValueError``."""
    if not isinstance(operation, SetRequest):
        return None
    seconds = encoding.ttl_seconds(operation.metadata)
    return seconds if seconds is not None and seconds > 0 else None


def _revision(etag: str) -> int:
    if not etag.isdecimal() or int(etag) > _LARGEST_REVISION:
        raise EtagError(f"'{etag}' is no revision of a key", invalid=True)
    return int(etag)


def _address(endpoint: str) -> str:
    """``host:port``, also of a URL. Raises ``SettingsError``."""
    address = endpoint.removeprefix("http://").removeprefix("https://").rstrip("/")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise SettingsError(f"invalid metadata field 'endpoints': '{endpoint}': expected host:port")
    return address
