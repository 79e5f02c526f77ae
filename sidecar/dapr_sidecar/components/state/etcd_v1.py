"""``state.etcd`` version 1: values as they are."""

from __future__ import annotations

from typing import Any, ClassVar

from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import SetRequest
from dapr_sidecar.components.state.etcd_base import EtcdStateSettings, EtcdStateStore


class EtcdV1StateStore(EtcdStateStore):
    """Reads do not tell when a value expires."""

    settings: ClassVar[type[Any]] = EtcdStateSettings

    def _encoded(self, request: SetRequest, ttl: int | None) -> bytes:
        return encoding.plain(request.value)

    def _decoded(self, value: bytes) -> tuple[bytes, dict[str, str]]:
        return value, {}
