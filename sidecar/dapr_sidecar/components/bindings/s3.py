"""``bindings.aws.s3``: objects of a bucket, on Amazon S3 or what speaks its interface."""

from __future__ import annotations

import asyncio
import urllib.parse
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import orjson

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.aws.credentials import CredentialsError
from dapr_sidecar.components.aws.s3 import S3Error
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import InvokeRequest, InvokeResponse, OutputBinding
from dapr_sidecar.components.bindings.folders import Folder, file_parts, file_size
from dapr_sidecar.components.bindings.objects import (
    Arguments,
    Budget,
    as_base64,
    flag,
    from_base64,
    header,
    in_parallel,
    needed,
    share_seconds,
    unquoted,
)
from dapr_sidecar.components.bindings.s3_listing import described, query_words
from dapr_sidecar.components.bindings.s3_settings import S3Settings, bucket_of
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.repeating import repeated
from dapr_sidecar.components.web import WebError

_LOG = get_logger("dapr.contrib.bindings.aws.s3")
_LOOK_SECONDS = 3.0
_FAILURES = (S3Error, WebError, CredentialsError, OSError, ValueError)
# What the service says at once when the manifest is wrong → the field to mend.
_FIELDS = {
    "NoSuchBucket": "bucket",
    "InvalidBucketName": "bucket",
    "InvalidAccessKeyId": "accessKey",
    "SignatureDoesNotMatch": "secretKey",
    "AuthorizationHeaderMalformed": "region",
    "PermanentRedirect": "region",
}


class S3Binding(OutputBinding):
    """``presignTTL`` shares an object by a URL; one call may concern many objects."""

    settings: ClassVar[type[Any]] = S3Settings
    operations = (
        *("create", "get", "delete", "list", "presign"),
        *("bulkGet", "bulkCreate", "bulkDelete"),
    )

    def __init__(self, settings: S3Settings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._config = settings
        self._bucket = bucket_of(settings)
        self._folder = Folder(settings.files_root)

    async def open(self) -> None:
        await self._folder.open()
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._bucket.list({"max-keys": "1"})
        except S3Error as error:
            if field := _FIELDS.get(error.code):
                raise SettingsError(f"invalid metadata field '{field}': {error}") from error
            # Those who may write need not be allowed to list.
            _LOG.debug("the bucket cannot be listed: %s", error)
        except (WebError, TimeoutError) as error:
            # It may come back; Dapr does not look at all.
            _LOG.warning("the bucket was not found yet: %s", error or "no answer")

    async def close(self) -> None:
        await self._bucket.close()

    async def ping(self) -> None:
        try:
            await self._bucket.list({"max-keys": "1"})
        except S3Error as error:
            if error.code in _FIELDS or error.status >= 500:
                raise

    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None:
        self.check_operation(request)
        metadata = request.metadata
        if request.operation == "create":
            return await self._create(request)
        if request.operation == "get":
            return await self._get(metadata)
        if request.operation == "delete":
            await self._bucket.delete(needed(metadata, "key"))
            return None
        if request.operation == "presign":
            key = needed(metadata, "key")
            seconds = share_seconds(needed(metadata, "presignTTL"), "presignTTL")
            return _json({"presignURL": await self._bucket.presigned_url(key, seconds)})
        arguments = Arguments.read(request.data)
        if request.operation == "list":
            return _json(described(await self._bucket.list(query_words(arguments))))
        if request.operation == "bulkGet":
            return _json(await self._bulk_get(arguments, metadata))
        if request.operation == "bulkCreate":
            return _json(await self._bulk_create(arguments, metadata))
        return _json(await self._bulk_delete(arguments))

    # --- one object -------------------------------------------------------------------------

    async def _create(self, request: InvokeRequest) -> InvokeResponse:
        metadata = request.metadata
        key = metadata.get("key") or str(uuid.uuid4())
        # Said before anything is stored.
        ttl = metadata.get("presignTTL")
        seconds = share_seconds(ttl, "presignTTL") if ttl else 0
        content = unquoted(request.data)
        made = await self._store(key, content, metadata.get("filePath", ""), metadata)
        if seconds:
            made["presignURL"] = await self._bucket.presigned_url(key, seconds)
        return _json(made)

    async def _store(
        self, key: str, content: bytes, file_path: str, metadata: Mapping[str, str]
    ) -> dict[str, Any]:
        headers = self._headers(metadata)
        decode = flag(metadata, "decodeBase64", self._config.decode_base64)
        if file_path:
            path = await self._folder.path(file_path, "filePath")
            size = await file_size(path)
            parts = file_parts(path, size)
            if not decode:
                version = await self._bucket.put_stream(key, parts, size, headers)
                return self._stored(key, version)
            content = await Budget().whole(parts)
        if decode:
            content = from_base64(content)
        return self._stored(key, await self._bucket.put(key, content, headers))

    def _stored(self, key: str, version: str) -> dict[str, Any]:
        return {"location": self._bucket.url(key), "versionID": version or None}

    def _headers(self, metadata: Mapping[str, str]) -> dict[str, str]:
        found: dict[str, str] = {}
        if kind := metadata.get("contentType"):
            found["content-type"] = header("contentType", kind)
        if stored := metadata.get("storageClass") or self._config.storage_class:
            found["x-amz-storage-class"] = header("storageClass", stored)
        if tags := metadata.get("tags"):
            found["x-amz-tagging"] = _tags(tags)
        return found

    async def _get(self, metadata: Mapping[str, str]) -> InvokeResponse:
        key = needed(metadata, "key")
        file_path = metadata.get("filePath", "")
        encode = flag(metadata, "encodeBase64", self._config.encode_base64)
        if file_path:
            await self._save(key, file_path, encode)
            return InvokeResponse(metadata={"filePath": file_path})
        return InvokeResponse(await self._read(key, encode, Budget()))

    async def _read(self, key: str, encode: bool, budget: Budget) -> bytes:
        async def once() -> bytes:
            async with self._parts(key, encode) as parts:
                return await budget.whole(parts)

        return await repeated(once)

    async def _save(self, key: str, file_path: str, encode: bool) -> None:
        path = await self._folder.path(file_path, "filePath")

        async def once() -> None:
            async with self._parts(key, encode) as parts:
                await self._folder.write(path, parts)

        await repeated(once)

    @asynccontextmanager
    async def _parts(self, key: str, encode: bool) -> AsyncIterator[AsyncIterator[bytes]]:
        try:
            async with self._bucket.get(key) as exchange:
                yield as_base64(exchange.parts()) if encode else exchange.parts()
        except S3Error as error:
            if error.status == 404 and error.code != "NoSuchBucket":
                raise FileNotFoundError(f"object not found: {key}") from error
            raise

    # --- many -------------------------------------------------------------------------------

    async def _bulk_get(
        self, arguments: Arguments, metadata: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        encode = flag(metadata, "encodeBase64", self._config.encode_base64)
        budget = Budget()

        async def one(item: Arguments) -> dict[str, Any]:
            key, file_path = item.text("key"), item.text("filePath")
            try:
                if file_path:
                    await self._save(key, file_path, encode)
                    return {"key": key, "filePath": file_path}
                return {"key": key, "data": _text(await self._read(key, encode, budget))}
            except _FAILURES as error:
                return {"key": key, "error": str(error)}

        return await in_parallel(_some(arguments), arguments.concurrency(), one)

    async def _bulk_create(
        self, arguments: Arguments, metadata: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        async def one(item: Arguments) -> dict[str, Any]:
            key, file_path = item.text("key"), item.text("filePath")
            try:
                if not (file_path or item.has("data")):
                    raise ValueError("neither 'data' nor 'filePath' is given")
                kind = item.text("contentType")
                mine = {**metadata, "contentType": kind} if kind else metadata
                content = b"" if file_path else item.content()
                return {"key": key, **await self._store(key, content, file_path, mine)}
            except _FAILURES as error:
                return {"key": key, "error": str(error)}

        return await in_parallel(_some(arguments), arguments.concurrency(), one)

    async def _bulk_delete(self, arguments: Arguments) -> list[dict[str, Any]]:
        if not (keys := arguments.texts("keys")):
            raise ValueError("missing field 'data.keys': expected at least one key")
        failed = await self._bucket.delete_many(keys)
        return [{"key": key} | ({"error": failed[key]} if key in failed else {}) for key in keys]


def _tags(text: str) -> str:
    """``a=1,b=2`` as the header has it. Raises ``ValueError``."""
    pairs = [one.strip().partition("=") for one in text.split(",")]
    if not all(name and joint for name, joint, _ in pairs):
        raise ValueError(f"invalid value of 'tags': '{text}': expected name=value,name=value")
    return urllib.parse.urlencode([(name.strip(), value.strip()) for name, _, value in pairs])


def _some(arguments: Arguments) -> list[Arguments]:
    if not (items := arguments.items("items", "key")):
        raise ValueError("missing field 'data.items': expected at least one item")
    return items


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError("the object is no UTF-8 text: set encodeBase64") from None


def _json(found: Any) -> InvokeResponse:
    return InvokeResponse(orjson.dumps(found))
