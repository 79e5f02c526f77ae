"""Items of the DynamoDB state store, and the conditions under which they are written. Pure."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dapr_common.moments import rfc3339
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import (
    DeleteRequest,
    GetResponse,
    SetRequest,
    TransactionOperation,
)

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A table and the names of its attributes; no ``ttl`` name means nothing expires."""

    name: str
    key: str
    ttl: str = ""

    def key_of(self, key: str) -> Item:
        """The primary key of a state's key."""
        return {self.key: {"S": key}}

    def get(self, key: str, *, strong: bool) -> dict[str, Any]:
        """A GetItem request."""
        return {"TableName": self.name, "Key": self.key_of(key), "ConsistentRead": strong}

    def put(self, request: SetRequest) -> dict[str, Any]:
        """A PutItem request. Raises ``ValueError`` for a wrong time to live."""
        item = self.item(request)
        found = {"TableName": self.name, "Item": item}
        if request.etag:
            return {**found, **self._if_etag(request.etag)}
        if request.concurrency == "first-write":
            return {**found, **self._if_absent()}
        return found

    def delete(self, request: DeleteRequest) -> dict[str, Any]:
        """A DeleteItem request."""
        found = {"TableName": self.name, "Key": self.key_of(request.key)}
        return {**found, **self._if_etag(request.etag)} if request.etag else found

    def item(self, request: SetRequest) -> Item:
        """What is written. Raises ``ValueError`` for a wrong time to live."""
        item = {
            **self.key_of(request.key),
            "value": _attribute(encoding.plain(request.value)),
            "etag": {"S": secrets.token_hex(8)},
        }
        seconds = encoding.ttl_seconds(request.metadata) if self.ttl else None
        if seconds is not None and seconds > 0:
            item[self.ttl] = {"N": str(int(time.time()) + seconds)}
        return item

    def response(self, item: Item | None) -> GetResponse:
        """What a read found; an item that expired and is still there counts as absent."""
        if not item or self._is_expired(item):
            return GetResponse()
        expires = item.get(self.ttl, {}).get("N") if self.ttl else None
        metadata = {} if expires is None else {"ttlExpireTime": rfc3339(int(expires))}
        etag = item.get("etag", {}).get("S")
        return GetResponse(_bytes(item.get("value", {})), etag, metadata)

    def _is_expired(self, item: Item) -> bool:
        expires = item.get(self.ttl, {}).get("N") if self.ttl else None
        return expires is not None and int(expires) <= int(time.time())

    # --- conditions -------------------------------------------------------------------------

    def _if_etag(self, etag: str) -> dict[str, Any]:
        names, values = {"#etag": "etag"}, {":etag": {"S": etag}}
        if not self.ttl:
            return _condition("#etag = :etag", names, values)
        return _condition(
            "#etag = :etag AND (attribute_not_exists(#ttl) OR #ttl > :now)",
            {**names, "#ttl": self.ttl},
            {**values, ":now": _now()},
        )

    def _if_absent(self) -> dict[str, Any]:
        names = {"#key": self.key}
        if not self.ttl:
            return _condition("attribute_not_exists(#key)", names, {})
        return _condition(
            "attribute_not_exists(#key) OR #ttl <= :now",
            {**names, "#ttl": self.ttl},
            {":now": _now()},
        )


def once_per_key(operations: Sequence[TransactionOperation]) -> list[TransactionOperation]:
    """DynamoDB takes one operation per item: the last one, under the first one's condition."""
    found: dict[str, TransactionOperation] = {}
    for operation in operations:
        before = found.get(operation.key)
        if before is not None and not operation.etag:
            concurrency = before.concurrency if before.concurrency == "first-write" else ""
            operation = replace(operation, etag=before.etag, concurrency=concurrency)
        found[operation.key] = operation
    return list(found.values())


def _condition(text: str, names: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, Any]:
    found = {"ConditionExpression": text, "ExpressionAttributeNames": dict(names)}
    return {**found, "ExpressionAttributeValues": dict(values)} if values else found


def _attribute(data: bytes) -> dict[str, str]:
    """Text, as Dapr has it; bytes that are no text would be lost in one and are kept as bytes."""
    try:
        return {"S": data.decode()}
    except UnicodeDecodeError:
        return {"B": base64.b64encode(data).decode()}


def _bytes(attribute: Mapping[str, str]) -> bytes:
    if "B" in attribute:
        return base64.b64decode(attribute["B"])
    return attribute.get("S", "").encode()


def _now() -> dict[str, str]:
    return {"N": str(int(time.time()))}
