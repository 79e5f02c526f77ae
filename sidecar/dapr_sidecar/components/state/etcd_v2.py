"""``state.etcd`` version 2: values with the moment they were written and their time to live."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from google.protobuf.message import DecodeError

from dapr_common.moments import rfc3339
from dapr_common.wire.etcd.state_value_pb2 import Value
from dapr_sidecar.components.etcd.client import EtcdError
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import SetRequest
from dapr_sidecar.components.state.etcd_base import EtcdStateSettings, EtcdStateStore


class EtcdV2StateStore(EtcdStateStore):
    """Reads tell when a value expires."""

    settings: ClassVar[type[Any]] = EtcdStateSettings

    def _encoded(self, request: SetRequest, ttl: int | None) -> bytes:
        value = Value(data=encoding.plain(request.value))
        value.ts.FromNanoseconds(time.time_ns())
        if ttl is not None:
            value.ttl.seconds = ttl
        return value.SerializeToString()

    def _decoded(self, value: bytes) -> tuple[bytes, dict[str, str]]:
        try:
            found = Value.FromString(value)
        except DecodeError as error:
            raise EtcdError(
                "the value was not written by version 2 of this store: was it version 1?"
            ) from error
        if not found.HasField("ttl"):
            return found.data, {}
        expires = found.ts.seconds + found.ttl.seconds
        return found.data, {"ttlExpireTime": rfc3339(expires)}
