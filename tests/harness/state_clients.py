"""The state API as an app uses it, over HTTP or gRPC: the same calls, the same answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

from google.protobuf import empty_pb2
from harness.http_call import Answer, acall
from harness.sidecar import Sidecar

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.dapr.proto.common.v1 import common_pb2 as common
from dapr_common.wire.dapr.proto.runtime.v1 import state_pb2 as pb

_SERVICE = "/dapr.proto.runtime.v1.Dapr/"
DONE, STALE = "done", "the etag is stale"
Words = Mapping[str, str]


@dataclass(frozen=True)
class Write:
    """A key and its new value; with an etag only when that is still the key's."""

    key: str
    value: Any
    etag: str = ""
    seconds: int = 0
    """How long it lives; 0 for ever."""

    @property
    def metadata(self) -> dict[str, str]:
        return {"ttlInSeconds": str(self.seconds)} if self.seconds else {}


class StateClient(Protocol):
    """What is written answers ``DONE`` or ``STALE``; anything else fails the test."""

    async def save(self, *writes: Write) -> str: ...
    async def get(self, key: str, metadata: Words | None = None) -> tuple[Any, str]:
        """Value and etag; ``None`` when there is none."""
        ...

    async def delete(self, key: str, etag: str = "", metadata: Words | None = None) -> str: ...
    async def bulk(self, keys: Sequence[str]) -> dict[str, Any]: ...
    async def transact(
        self, writes: Sequence[Write], deletes: Sequence[str], metadata: Words
    ) -> str: ...


class HttpStateClient:
    """JSON over HTTP."""

    def __init__(self, sidecar: Sidecar, store: str) -> None:
        self._port = sidecar.http_port
        self._path = f"/v1.0/state/{store}"

    async def save(self, *writes: Write) -> str:
        return _status(await self._call("POST", "", [_json_item(one) for one in writes]))

    async def get(self, key: str, metadata: Words | None = None) -> tuple[Any, str]:
        answer = await self._call("GET", f"/{key}{_query(metadata)}")
        if answer.status == 204:
            return None, ""
        assert answer.status == 200, answer
        return answer.json, answer.headers["etag"]

    async def delete(self, key: str, etag: str = "", metadata: Words | None = None) -> str:
        headers = {"If-Match": etag} if etag else {}
        return _status(await self._call("DELETE", f"/{key}{_query(metadata)}", None, headers))

    async def bulk(self, keys: Sequence[str]) -> dict[str, Any]:
        answer = await self._call("POST", "/bulk", {"keys": list(keys)})
        assert answer.status == 200, answer
        return {one["key"]: one.get("data") for one in answer.json}

    async def transact(
        self, writes: Sequence[Write], deletes: Sequence[str], metadata: Words
    ) -> str:
        operations = [{"operation": "upsert", "request": _json_item(one)} for one in writes]
        operations += [{"operation": "delete", "request": {"key": key}} for key in deletes]
        body = {"operations": operations, "metadata": dict(metadata)}
        return _status(await self._call("POST", "/transaction", body))

    async def _call(
        self, method: str, path: str, body: object = None, headers: Words | None = None
    ) -> Answer:
        return await acall(self._port, method, self._path + path, body, headers, timeout=60.0)


class GrpcStateClient:
    """Protobuf over gRPC."""

    def __init__(self, channel: GrpcChannel, store: str) -> None:
        self._channel = channel
        self._store = store

    async def save(self, *writes: Write) -> str:
        items = [_item(one) for one in writes]
        return await self._do(
            "SaveState", pb.SaveStateRequest(store_name=self._store, states=items)
        )

    async def get(self, key: str, metadata: Words | None = None) -> tuple[Any, str]:
        request = pb.GetStateRequest(store_name=self._store, key=key, metadata=metadata)
        found = await self._ask("GetState", request, pb.GetStateResponse)
        return (json.loads(found.data), found.etag) if found.data else (None, "")

    async def delete(self, key: str, etag: str = "", metadata: Words | None = None) -> str:
        request = pb.DeleteStateRequest(store_name=self._store, key=key, metadata=metadata)
        if etag:
            request.etag.value = etag
        return await self._do("DeleteState", request)

    async def bulk(self, keys: Sequence[str]) -> dict[str, Any]:
        request = pb.GetBulkStateRequest(store_name=self._store, keys=keys)
        found = await self._ask("GetBulkState", request, pb.GetBulkStateResponse)
        return {one.key: json.loads(one.data) if one.data else None for one in found.items}

    async def transact(
        self, writes: Sequence[Write], deletes: Sequence[str], metadata: Words
    ) -> str:
        operations = [
            pb.TransactionalStateOperation(operationType="upsert", request=_item(one))
            for one in writes
        ]
        operations += [
            pb.TransactionalStateOperation(
                operationType="delete", request=common.StateItem(key=key)
            )
            for key in deletes
        ]
        request = pb.ExecuteStateTransactionRequest(
            storeName=self._store, operations=operations, metadata=metadata
        )
        return await self._do("ExecuteStateTransaction", request)

    async def _do(self, method: str, request: Any) -> str:
        try:
            await self._ask(method, request, empty_pb2.Empty)
        except RpcError as error:
            if error.code is not GrpcCode.ABORTED:
                raise
            return STALE
        return DONE

    async def _ask(self, method: str, request: Any, answer: Any) -> Any:
        return (await self._channel.unary(_SERVICE + method, request, answer, timeout=60.0)).message


def _json_item(write: Write) -> dict[str, Any]:
    found: dict[str, Any] = {"key": write.key, "value": write.value, "metadata": write.metadata}
    if write.etag:
        found |= {"etag": write.etag, "options": {"concurrency": "first-write"}}
    return found


def _item(write: Write) -> common.StateItem:
    raw = json.dumps(write.value).encode()
    found = common.StateItem(key=write.key, value=raw, metadata=write.metadata)
    if write.etag:
        found.etag.value = write.etag
        found.options.concurrency = common.StateOptions.CONCURRENCY_FIRST_WRITE
    return found


def _status(answer: Answer) -> str:
    assert answer.status in (204, 409), answer
    return DONE if answer.status == 204 else STALE


def _query(metadata: Words | None) -> str:
    words = {f"metadata.{name}": value for name, value in (metadata or {}).items()}
    return f"?{urlencode(words)}" if words else ""
