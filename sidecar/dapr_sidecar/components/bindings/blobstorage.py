"""``bindings.azure.blobstorage``: blobs of a container on Azure Blob Storage."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import orjson

from dapr_sidecar.components import xml_answer
from dapr_sidecar.components.azure.blobs import BlobError
from dapr_sidecar.components.azure.storage_signing import shared_url_words
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import InvokeRequest, InvokeResponse, OutputBinding
from dapr_sidecar.components.bindings.blobstorage_blobs import (
    Blobs,
    blob_headers,
    kept_metadata,
)
from dapr_sidecar.components.bindings.blobstorage_bulk import BulkBlobs
from dapr_sidecar.components.bindings.blobstorage_listing import blobs_of, described, query_words
from dapr_sidecar.components.bindings.blobstorage_settings import (
    BlobStorageSettings,
    PublicAccess,
    account_of,
    container_of,
)
from dapr_sidecar.components.bindings.folders import Folder
from dapr_sidecar.components.bindings.objects import (
    Arguments,
    Budget,
    flag,
    needed,
    share_seconds,
    unquoted,
)
from dapr_sidecar.components.metadata import SettingsError


class BlobStorageBinding(OutputBinding):
    """``signTTL`` shares a blob by a URL; one call may concern many blobs."""

    settings: ClassVar[type[Any]] = BlobStorageSettings
    operations = (
        *("create", "get", "delete", "list", "bulkGet", "bulkCreate", "bulkDelete"),
        "presign",
    )

    def __init__(self, settings: BlobStorageSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._config = settings
        self._account = account_of(settings)
        self._container = container_of(settings, self._account)
        self._folder = Folder(settings.files_root)
        self._blobs = Blobs(self._container, self._folder, settings.get_tries)
        self._bulk = BulkBlobs(self._blobs)

    async def open(self) -> None:
        await self._folder.open()
        if self._config.no_management:
            return
        public = self._config.public_access
        try:
            await self._container.make("" if public is PublicAccess.NONE else public.value)
        except BlobError as error:
            raise self._explained(error) from error

    async def close(self) -> None:
        await self._container.close()

    async def ping(self) -> None:
        try:
            await self._container.describe()
        except BlobError as error:
            if error.status not in (401, 403):  # those who may write need not be allowed to look
                raise

    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None:
        self.check_operation(request)
        metadata = request.metadata
        if request.operation == "create":
            return await self._create(request)
        if request.operation == "get":
            return await self._get(metadata)
        if request.operation == "delete":
            await self._blobs.delete(
                needed(metadata, "blobName"), metadata.get("deleteSnapshots", "")
            )
            return None
        if request.operation == "presign":
            name = needed(metadata, "blobName")
            seconds = share_seconds(needed(metadata, "signTTL"), "signTTL")
            return _json({"presignURL": self._shared(name, seconds)})
        arguments = Arguments.read(request.data)
        if request.operation == "list":
            return await self._list(arguments)
        if request.operation == "bulkGet":
            return _json(await self._bulk.get(arguments))
        if request.operation == "bulkCreate":
            return _json(await self._bulk.create(arguments, decode=self._decodes(metadata)))
        return _json(await self._bulk.delete(arguments))

    # --- one blob ---------------------------------------------------------------------------

    async def _create(self, request: InvokeRequest) -> InvokeResponse:
        metadata = request.metadata
        name = metadata.get("blobName") or str(uuid.uuid4())
        headers = blob_headers(metadata)
        # Said before anything is stored.
        ttl = metadata.get("signTTL")
        shared = self._shared(name, share_seconds(ttl, "signTTL")) if ttl else ""
        content = unquoted(request.data)
        await self._blobs.store(name, content, headers, decode=self._decodes(metadata))
        made = {"blobURL": self._container.url(name)}
        if shared:
            made["presignURL"] = shared
        return _json(made)

    async def _get(self, metadata: Mapping[str, str]) -> InvokeResponse:
        name = needed(metadata, "blobName")
        if file := metadata.get("filePath"):
            return InvokeResponse(metadata={"filePath": await self._blobs.save(name, file)})
        content, headers = await self._blobs.read(name, Budget())
        if not flag(metadata, "includeMetadata", False):
            return InvokeResponse(content)
        return InvokeResponse(content, kept_metadata(headers))

    async def _list(self, arguments: Arguments) -> InvokeResponse:
        root = await self._container.list(query_words(arguments))
        found = [described(blob) for blob in blobs_of(root)]
        metadata = {"marker": xml_answer.text(root, "NextMarker"), "number": str(len(found))}
        return InvokeResponse(orjson.dumps(found), metadata)

    def _decodes(self, metadata: Mapping[str, str]) -> bool:
        return flag(metadata, "decodeBase64", self._config.decode_base64)

    def _explained(self, error: BlobError) -> Exception:
        """Why there is no container, with the field to mend."""
        if error.status not in (401, 403):
            return error
        if self._account.key is None:
            return SettingsError(
                f"the container cannot be made: {error}; when it is there already, set the "
                "metadata field 'disableEntityManagement' to true"
            )
        field = "accountKey" if self._config.account_key else "connectionString"
        return SettingsError(f"invalid metadata field '{field}': {error}")

    def _shared(self, name: str, seconds: int) -> str:
        account = self._account
        if account.key is None:
            raise ValueError(
                "a blob is shared by a URL only with the account's key: "
                "set the component's metadata field 'accountKey'"
            )
        expires = datetime.now(UTC) + timedelta(seconds=seconds)
        words = shared_url_words(account.name, self._config.container, name, account.key, expires)
        return f"{self._container.url(name)}?{words}"


def _json(found: Any) -> InvokeResponse:
    return InvokeResponse(orjson.dumps(found))
