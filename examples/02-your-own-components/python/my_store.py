"""A state store in one JSON file, with etags, transactions and expiry."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
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

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class MyStoreSettings:
    """What a manifest may say besides ``file`` and ``class``."""

    path: str = setting("path", help="the file that keeps the data")
    indent: int = setting("indent", default=0, help="spaces that make the file easier to read")


class MyStore(StateStore):
    """Small on purpose: each change writes the whole file."""

    settings = MyStoreSettings
    features = frozenset({Feature.ETAG, Feature.TRANSACTIONAL, Feature.TTL})

    def __init__(self, settings: MyStoreSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)  # no input or output here
        self._path = Path(settings.path)
        self._indent = settings.indent or None
        self._records: dict[str, Record] = {}

    async def open(self) -> None:
        """Raise with a text that tells what to mend: the component is not loaded then."""
        if not self._path.parent.is_dir():
            raise ValueError(f"'path': there is no folder {self._path.parent}")
        if self._path.exists():
            self._records = json.loads(self._path.read_text())

    async def get(self, request: GetRequest) -> GetResponse:
        record = self._live(request.key)
        if record is None:
            return GetResponse()
        metadata = {"ttlExpireTime": record["expires_at"]} if record.get("expires_at") else {}
        return GetResponse(base64.b64decode(record["data"]), record["etag"], metadata)

    async def set(self, request: SetRequest) -> None:
        await self.transact([request], {})

    async def delete(self, request: DeleteRequest) -> None:
        await self.transact([request], {})

    async def transact(
        self, operations: Sequence[TransactionOperation], metadata: Mapping[str, str]
    ) -> None:
        """All or none: everything is checked before anything is changed."""
        for operation in operations:
            self._check(operation)
        for operation in operations:
            if isinstance(operation, SetRequest):
                self._records[operation.key] = self._record(operation)
            else:
                self._records.pop(operation.key, None)
        self._write()

    # --- inside -----------------------------------------------------------------------------

    def _live(self, key: str) -> Record | None:
        record = self._records.get(key)
        if record is not None and record.get("expires", time.time() + 1) <= time.time():
            return None
        return record

    def _check(self, operation: TransactionOperation) -> None:
        record = self._live(operation.key)
        if isinstance(operation, SetRequest):
            encoding.ttl_seconds(operation.metadata)
        if operation.etag is not None:
            if record is None or record["etag"] != operation.etag:
                raise EtagError(f"etag of key {operation.key} does not match")
        elif operation.concurrency == "first-write" and record is not None:
            raise EtagError(f"key {operation.key} is there, and no etag was given")

    def _record(self, operation: SetRequest) -> Record:
        data = base64.b64encode(encoding.plain(operation.value)).decode()
        record: Record = {"data": data, "etag": str(uuid.uuid4())}
        seconds = encoding.ttl_seconds(operation.metadata)
        if seconds is not None and seconds > 0:
            record["expires"] = time.time() + seconds
            moment = time.gmtime(record["expires"])
            record["expires_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
        return record

    def _write(self) -> None:
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._records, indent=self._indent))
        partial.replace(self._path)
