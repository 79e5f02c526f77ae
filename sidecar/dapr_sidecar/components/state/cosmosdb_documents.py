"""Documents of the Cosmos DB state store, and queries over them. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson

from dapr_common.moments import rfc3339
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import (
    GetResponse,
    Json,
    SetRequest,
    TransactionOperation,
)
from dapr_sidecar.components.state.query import Combine, Compare, Filter, OneOf, Query

Document = dict[str, Any]
_FORBIDDEN = frozenset("/\\?#")
_LONGEST_ID = 1023
_OPERATORS = {"EQ": "=", "NEQ": "!=", "GT": ">", "GTE": ">=", "LT": "<", "LTE": "<="}
_PARTITION = "partitionKey"


def partition_of(key: str, metadata: Mapping[str, str]) -> str:
    """The partition of a key: what the request says, else the key itself."""
    return _given_partition(metadata) or key


def transaction_partition(
    operations: list[TransactionOperation], metadata: Mapping[str, str]
) -> str:
    """The one partition of a transaction. Raises ``ValueError`` when there is none."""
    if given := _given_partition(metadata):
        return given
    found = {partition_of(one.key, one.metadata) for one in operations}
    if len(found) == 1:
        return found.pop()
    raise ValueError(
        "a transaction of Cosmos DB stays within one partition: name it in the metadata as "
        "'partitionKey', and name it when you read the keys"
    )


def _given_partition(metadata: Mapping[str, str]) -> str:
    return next((v for k, v in metadata.items() if k.lower() == _PARTITION.lower()), "")


def check_key(key: str) -> str:
    """The key, when it can be a document's id. Raises ``ValueError``."""
    if not _FORBIDDEN.isdisjoint(key):
        raise ValueError(f"key '{key}': Cosmos DB allows none of / \\ ? # in a key")
    if len(key.encode()) > _LONGEST_ID:
        raise ValueError(f"key '{key[:40]}…': Cosmos DB allows {_LONGEST_ID} bytes")
    return key


def document(request: SetRequest, partition: str, content_type: str) -> Document:
    """What is written. Raises ``ValueError`` for a wrong key or time to live."""
    value, is_binary = _stored(request, content_type)
    found: Document = {
        "id": check_key(request.key),
        "value": value,
        "isBinary": is_binary,
        _PARTITION: partition,
    }
    seconds = encoding.ttl_seconds(request.metadata)
    if seconds is not None:
        found["ttl"] = seconds if seconds > 0 else -1
    return found


def response(found: Document) -> GetResponse:
    """What a read found; what expired the service does not show."""
    ttl, written = found.get("ttl"), found.get("_ts")
    metadata = {}
    if isinstance(ttl, int) and ttl > 0 and isinstance(written, int):
        metadata["ttlExpireTime"] = rfc3339(written + ttl)
    value = found.get("value")
    data = base64.b64decode(value or "") if found.get("isBinary") else encoding.plain(Json(value))
    return GetResponse(data, found.get("_etag"), metadata)


def _stored(request: SetRequest, content_type: str) -> tuple[Any, bool]:
    """Bytes that are a JSON object are kept as one, so that queries see into it."""
    value = request.value
    if isinstance(value, Json):
        return _doubles(value.value), False
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        native = _object(value)
        if native is not None:
            return native, False
    elif kind.startswith("text/"):
        return value.decode("utf-8", "replace"), False
    return base64.b64encode(value).decode(), True


def _object(data: bytes) -> dict[str, Any] | None:
    if not data.lstrip().startswith(b"{"):
        return None
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _doubles(value: object) -> object:
    """Integers past 64 bits as floats: the service has no other numbers anyway."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value)
    if isinstance(value, dict):
        return {key: _doubles(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_doubles(inner) for inner in value]
    return value


# --- queries ------------------------------------------------------------------------------------


def sql(query: Query) -> tuple[str, list[dict[str, Any]]]:
    """The text of a query and its parameters."""
    parameters: list[dict[str, Any]] = []
    text = "SELECT * FROM c"
    if query.filter is not None:
        text += " WHERE " + _condition(query.filter, parameters)
    if query.sort:
        text += " ORDER BY " + ", ".join(
            f"{_field(entry.key)} {'DESC' if entry.descending else 'ASC'}" for entry in query.sort
        )
    return text, parameters


def _condition(given: Filter, parameters: list[dict[str, Any]]) -> str:
    if isinstance(given, Combine):
        inner = (_condition(one, parameters) for one in given.filters)
        return "(" + f" {given.operator} ".join(inner) + ")"
    if isinstance(given, OneOf):
        listed = ", ".join(_parameter(value, parameters) for value in given.values)
        return f"{_field(given.key)} IN ({listed})"
    return _comparison(given, parameters)


def _comparison(given: Compare, parameters: list[dict[str, Any]]) -> str:
    value = _parameter(given.value, parameters)
    return f"{_field(given.key)} {_OPERATORS[given.operator]} {value}"


def _parameter(value: Any, parameters: list[dict[str, Any]]) -> str:
    name = f"@p{len(parameters)}"
    parameters.append({"name": name, "value": value})
    return name


def _field(key: str) -> str:
    # Quoted, so that no name can be anything but a name.
    return 'c["value"]' + "".join(f"[{orjson.dumps(part).decode()}]" for part in key.split("."))
