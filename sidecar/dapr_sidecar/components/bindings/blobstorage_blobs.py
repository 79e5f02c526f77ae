"""Blobs of a container as the operations of ``bindings.azure.blobstorage`` need them."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from dapr_sidecar.components import xml_answer
from dapr_sidecar.components.azure.blobs import BlobContainer, BlobError
from dapr_sidecar.components.bindings.blobstorage_listing import blobs_of, name_of
from dapr_sidecar.components.bindings.folders import Folder, file_parts, file_size
from dapr_sidecar.components.bindings.objects import Budget, custom, from_base64, header
from dapr_sidecar.components.repeating import repeated
from dapr_sidecar.components.web import WebExchange

_CUSTOM = "x-ms-meta-"
_CUSTOM_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MD5_BYTES = 16
# What a request's metadata says about a blob → the header that says it.
_HEADERS = {
    "contentType": "x-ms-blob-content-type",
    "contentMD5": "x-ms-blob-content-md5",
    "contentEncoding": "x-ms-blob-content-encoding",
    "contentLanguage": "x-ms-blob-content-language",
    "contentDisposition": "x-ms-blob-content-disposition",
    "cacheControl": "x-ms-blob-cache-control",
}
_KNOWN = frozenset({*_HEADERS, "blobName", "decodeBase64", "signTTL"})
_SNAPSHOTS = ("include", "only")


class Blobs:
    """``tries`` is how often a read is begun when it breaks off."""

    def __init__(self, container: BlobContainer, folder: Folder, tries: int) -> None:
        self._container = container
        self._folder = folder
        self._tries = tries

    def url(self, name: str) -> str:
        """Where a blob is."""
        return self._container.url(name)

    async def store(
        self, name: str, content: bytes, headers: Mapping[str, str], *, decode: bool
    ) -> None:
        """Raises ``ValueError`` for what should be base64 and is not."""
        await self._container.put(name, from_base64(content) if decode else content, headers)

    async def store_file(
        self, name: str, source: str, headers: Mapping[str, str], *, decode: bool
    ) -> None:
        """The same for a file's content."""
        path = await self._folder.path(source, "sourcePath")
        size = await file_size(path)
        parts = file_parts(path, size)
        if decode:
            await self.store(name, await Budget().whole(parts), headers, decode=True)
        else:
            await self._container.put_stream(name, parts, size, headers)

    async def read(self, name: str, budget: Budget) -> tuple[bytes, Mapping[str, str]]:
        """Content and headers. Raises ``FileNotFoundError``."""

        async def once() -> tuple[bytes, Mapping[str, str]]:
            async with self._opened(name) as exchange:
                return await budget.whole(exchange.parts()), exchange.headers

        return await repeated(once, self._tries)

    async def save(self, name: str, file: str, directory: str = "") -> str:
        """Have a file hold a blob; its path. Raises ``FileNotFoundError``."""
        if directory:
            path = await self._folder.path_in(directory, file, "destinationDir")
        else:
            path = await self._folder.path(file, "filePath")

        async def once() -> None:
            async with self._opened(name) as exchange:
                await self._folder.write(path, exchange.parts())

        await repeated(once, self._tries)
        return str(path) if directory else file

    async def delete(self, name: str, snapshots: str) -> None:
        """Raises ``ValueError`` when it is not said right what shall happen to snapshots."""
        check_snapshots(snapshots)
        try:
            await self._container.delete(name, snapshots)
        except BlobError as error:
            raise _found(error, name) from error

    async def names(self, prefix: str, most: int) -> list[str]:
        """Blobs that begin so. Raises ``ValueError`` when they are too many."""
        found: list[str] = []
        words = {"prefix": prefix}
        while True:
            root = await self._container.list(words)
            found += map(name_of, blobs_of(root))
            if len(found) > most:
                raise ValueError(
                    f"more than {most} blobs begin with '{prefix}': name a longer prefix"
                )
            if not (marker := xml_answer.text(root, "NextMarker")):
                return found
            words["marker"] = marker

    @asynccontextmanager
    async def _opened(self, name: str) -> AsyncIterator[WebExchange]:
        try:
            async with self._container.get(name) as exchange:
                yield exchange
        except BlobError as error:
            raise _found(error, name) from error


def blob_headers(metadata: Mapping[str, str]) -> dict[str, str]:
    """What a request says about a blob. Raises ``ValueError`` with the field's name."""
    found = {
        _HEADERS[name]: header(name, metadata[name]) for name in _HEADERS if metadata.get(name)
    }
    if digest := metadata.get("contentMD5"):
        _check_digest(digest)
    for name, value in custom(metadata, _KNOWN):
        if not _CUSTOM_NAME.fullmatch(name):
            raise ValueError(
                f"invalid metadata name '{name}': expected letters, digits and underscores"
            )
        found[_CUSTOM + name.lower()] = header(name, value)
    return found


def kept_metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """What was stored with a blob by its users."""
    return {
        name.removeprefix(_CUSTOM): value
        for name, value in headers.items()
        if name.startswith(_CUSTOM)
    }


def check_snapshots(word: str) -> None:
    """Raises ``ValueError`` for a word that is none of those allowed."""
    if word and word not in _SNAPSHOTS:
        raise ValueError(
            f"invalid value of 'deleteSnapshots': '{word}': expected one of include, only"
        )


def _check_digest(text: str) -> None:
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    if len(raw) != _MD5_BYTES:
        raise ValueError("invalid value of 'contentMD5': expected an MD5 digest in base64")


def _found(error: BlobError, name: str) -> Exception:
    missing = error.code == "BlobNotFound" or error.code == "status 404"
    return FileNotFoundError(f"blob not found: {name}") if missing else error
