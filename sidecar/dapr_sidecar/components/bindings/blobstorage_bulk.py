"""Operations of ``bindings.azure.blobstorage`` that concern many blobs: each has its result."""

from __future__ import annotations

import base64
from typing import Any

from dapr_sidecar.components.azure.blobs import BlobError
from dapr_sidecar.components.azure.tokens import TokenError
from dapr_sidecar.components.bindings.blobstorage_blobs import Blobs, blob_headers, check_snapshots
from dapr_sidecar.components.bindings.objects import Arguments, Budget, in_parallel
from dapr_sidecar.components.web import WebError

_FAILURES = (BlobError, WebError, TokenError, OSError, ValueError)
_MOST_NAMES = 100_000


class BulkBlobs:
    """What fails for one blob is said in its result and hinders no other."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def get(self, arguments: Arguments) -> list[dict[str, Any]]:
        """Into files, or inline in base64."""
        items = arguments.items("items", "blobName")
        prefix, directory = arguments.text("prefix"), arguments.text("destinationDir")
        if not (items or prefix):
            raise ValueError("missing field: expected 'data.items' or 'data.prefix'")
        if prefix and not directory:
            raise ValueError("missing field 'data.destinationDir': 'prefix' is given")
        wanted = [(item.text("blobName"), item.text("filePath"), "") for item in items]
        if prefix:
            wanted += [
                (name, name, directory) for name in await self._blobs.names(prefix, _MOST_NAMES)
            ]
        budget = Budget()

        async def one(what: tuple[str, str, str]) -> dict[str, Any]:
            name, file, into = what
            try:
                if file:
                    path = await self._blobs.save(name, file, into)
                    return {"blobName": name, "filePath": path}
                content, _ = await self._blobs.read(name, budget)
                return {"blobName": name, "data": base64.b64encode(content).decode()}
            except _FAILURES as error:
                return {"blobName": name, "error": _why(error)}

        return await in_parallel(wanted, arguments.concurrency(), one)

    async def create(self, arguments: Arguments, *, decode: bool) -> list[dict[str, Any]]:
        """From files, or from inline data."""
        if not (items := arguments.items("items", "blobName")):
            raise ValueError("missing field 'data.items': expected at least one item")

        async def one(item: Arguments) -> dict[str, Any]:
            name, source = item.text("blobName"), item.text("sourcePath")
            try:
                kind = item.text("contentType")
                headers = blob_headers({"contentType": kind} if kind else {})
                if source:
                    await self._blobs.store_file(name, source, headers, decode=decode)
                elif item.has("data"):
                    await self._blobs.store(name, item.content(), headers, decode=decode)
                else:
                    raise ValueError("neither 'data' nor 'sourcePath' is given")
                return {"blobName": name, "blobURL": self._blobs.url(name)}
            except _FAILURES as error:
                return {"blobName": name, "error": _why(error)}

        return await in_parallel(items, arguments.concurrency(), one)

    async def delete(self, arguments: Arguments) -> list[dict[str, Any]]:
        """Those that are named, and those that begin with a prefix."""
        names, prefix = arguments.texts("blobNames"), arguments.text("prefix")
        if not (names or prefix):
            raise ValueError("missing field: expected 'data.blobNames' or 'data.prefix'")
        check_snapshots(snapshots := arguments.text("deleteSnapshots"))
        if prefix:
            names = list(dict.fromkeys([*names, *await self._blobs.names(prefix, _MOST_NAMES)]))

        async def one(name: str) -> dict[str, Any]:
            try:
                await self._blobs.delete(name, snapshots)
            except _FAILURES as error:
                return {"blobName": name, "error": _why(error)}
            return {"blobName": name}

        return await in_parallel(names, arguments.concurrency(), one)


def _why(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, FileNotFoundError) else error
    return cause.code if isinstance(cause, BlobError) else str(error)
