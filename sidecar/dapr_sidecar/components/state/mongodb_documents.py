"""Documents of the MongoDB state store, and queries over them. Pure."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from bson import json_util

from dapr_common.moments import rfc3339
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import GetResponse, Json, SetRequest, StateValue
from dapr_sidecar.components.state.query import Combine, Filter, OneOf, Query, QueryError

_OPERATORS = {"EQ": "$eq", "NEQ": "$ne", "GT": "$gt", "GTE": "$gte", "LT": "$lt", "LTE": "$lte"}
_RELAXED = json_util.RELAXED_JSON_OPTIONS
_LONGEST = timedelta(days=365 * 1000)


def changes(request: SetRequest, now: datetime) -> dict[str, Any]:
    """What a write does to a document. Raises ``ValueError`` for a wrong time to live."""
    fields: dict[str, Any] = {"value": _stored(request.value), "_etag": str(uuid.uuid4())}
    seconds = encoding.ttl_seconds(request.metadata)
    if seconds is None or seconds <= 0:
        return {"$set": fields, "$unset": {"_ttl": ""}}
    return {"$set": {**fields, "_ttl": now + min(timedelta(seconds=seconds), _LONGEST)}}


def is_live(now: datetime) -> dict[str, Any]:
    """A condition: the database takes what expired away only once in a minute."""
    return {"$or": [{"_ttl": None}, {"_ttl": {"$gt": now}}]}


def response(document: Mapping[str, Any] | None, now: datetime) -> GetResponse:
    """What a read found."""
    if document is None:
        return GetResponse()
    expires = document.get("_ttl")
    metadata = {}
    if isinstance(expires, datetime):
        if expires <= now:
            return GetResponse()
        metadata["ttlExpireTime"] = rfc3339(expires)
    etag = document.get("_etag")
    return GetResponse(_data(document.get("value")), etag and str(etag), metadata)


def _stored(value: StateValue) -> Any:
    """Objects and arrays as such, so that queries see into them; everything else as text."""
    if isinstance(value, Json):
        if isinstance(value.value, (dict, list)):
            return _bson(value.value)
        return encoding.plain(value).decode()
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value  # BSON has bytes, too; in a text they would be lost


def _bson(value: object) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {key: _bson(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_bson(inner) for inner in value]
    return value


def _data(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return bytes(value)
    if not _is_json(value):  # dates, decimals, ids: MongoDB's extended JSON has names for them
        value = json.loads(json_util.dumps(value, json_options=_RELAXED))
    return encoding.plain(Json(value))


def _is_json(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_json, value.values()))
    if isinstance(value, list):
        return all(map(_is_json, value))
    return value is None or isinstance(value, (str, int, float))


# --- queries ------------------------------------------------------------------------------------


def conditions(query: Query, now: datetime) -> dict[str, Any]:
    """The filter of a find."""
    if query.filter is None:
        return is_live(now)
    return {"$and": [_condition(query.filter), is_live(now)]}


def order(query: Query) -> list[tuple[str, int]]:
    """The sort of a find; the key last, so that pages do not overlap."""
    return [
        *((_field(entry.key), -1 if entry.descending else 1) for entry in query.sort),
        ("_id", 1),
    ]


def offset(token: str) -> int:
    """Where a page begins. Raises ``QueryError``."""
    if token and not token.isdecimal():
        raise QueryError(f"page.token '{token}' is none of this store's")
    return int(token or 0)


def _condition(given: Filter) -> dict[str, Any]:
    if isinstance(given, Combine):
        return {f"${given.operator.lower()}": [_condition(one) for one in given.filters]}
    if isinstance(given, OneOf):
        return {_field(given.key): {"$in": list(given.values)}}
    return {_field(given.key): {_OPERATORS[given.operator]: given.value}}


def _field(key: str) -> str:
    return f"value.{key}"
