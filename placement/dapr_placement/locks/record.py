"""A lease as the text of one key."""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Any

import orjson

from dapr_common.lease import Record, StoreError


def encoded(record: Record) -> str:
    """The value, as both systems' APIs take it; never the same twice.

    Consul keeps a key's version when its value stays the same: a renewal would not be seen.
    """
    fields = {
        "holder": record.holder,
        "lifeSeconds": record.life_seconds,
        "renewal": secrets.token_hex(8),
    }
    return base64.b64encode(orjson.dumps(fields)).decode()


def decoded(value: Any, version: str, key: str) -> Record:
    """The record of a value. Raises ``StoreError`` for what is something else."""
    try:
        fields = orjson.loads(base64.b64decode(value or ""))
        return Record(
            holder=str(fields["holder"]),
            life_seconds=float(fields["lifeSeconds"]),
            version=version,
        )
    except (binascii.Error, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"the key {key} holds something that is no lease: remove it") from error
