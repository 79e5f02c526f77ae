"""``bindings.gcp.bucket``: objects of a bucket of Google Cloud Storage."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import InvokeRequest, InvokeResponse, OutputBinding
from dapr_sidecar.components.bindings.gcp_bucket_listing import attributes, described, query_words
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
from dapr_sidecar.components.gcp.settings import GcpSettings
from dapr_sidecar.components.gcp.storage import Resource, StorageBucket, StorageError
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.repeating import repeated
from dapr_sidecar.components.web import WebError

_LOG = get_logger("dapr.contrib.bindings.gcp.bucket")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_MOST = 1000
_MOST_READ = 10_000
_AT_ONCE = 10
_LOOK_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GcpBucketSettings(GcpSettings):
    """The account, and these."""

    bucket: str = setting("bucket", help="the bucket, which is there already")
    decode_base64: bool = setting(
        "decodeBase64", default=False, help="what is stored comes in base64"
    )
    encode_base64: bool = setting(
        "encodeBase64", default=False, help="what is read is given in base64"
    )
    content_type: str = setting("contentType", default="", help="content type of new objects")
    sign_ttl: str = setting(
        "signTTL", default="", help="how long a signed URL is good when a request does not say"
    )
    endpoint: str = setting(
        "endpoint", default="", help="URL of the service, for emulators and private endpoints"
    )


class GcpBucketBinding(OutputBinding):
    """``sign`` shares an object by a URL; ``bulkGet`` reads all that are there."""

    settings: ClassVar[type[Any]] = GcpBucketSettings
    operations = (
        *("create", "get", "bulkGet", "delete", "list", "copy", "move", "rename"),
        "sign",
    )

    def __init__(self, settings: GcpBucketSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._config = settings
        if not _NAME.fullmatch(settings.bucket):
            raise SettingsError(
                f"invalid metadata field 'bucket': '{settings.bucket}': expected a bucket's "
                "name: lower-case letters, digits, dots, hyphens and underscores"
            )
        if settings.sign_ttl:
            try:
                share_seconds(settings.sign_ttl, "signTTL")
            except ValueError as error:
                raise SettingsError(f"invalid metadata field 'signTTL': {error}") from None
        self._bucket = StorageBucket(settings, settings.bucket, settings.endpoint)

    async def open(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._bucket.describe()
        except StorageError as error:
            if error.status == 404:
                raise SettingsError(f"invalid metadata field 'bucket': {error}") from error
            if error.status == 401:
                raise SettingsError(f"invalid metadata field 'private_key': {error}") from error
            # Those who may use objects need not be allowed to look at their bucket.
            _LOG.debug("the bucket cannot be looked at: %s", error)
        except (WebError, ConnectionError, TimeoutError) as error:
            # It may come back; Dapr does not look at all.
            _LOG.warning("the bucket was not found yet: %s", error or "no answer")

    async def close(self) -> None:
        await self._bucket.close()

    async def ping(self) -> None:
        try:
            await self._bucket.describe()
        except StorageError as error:
            if error.status != 403:
                raise

    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None:
        self.check_operation(request)
        metadata = request.metadata
        if request.operation == "create":
            return await self._create(request)
        if request.operation == "bulkGet":
            return _json(await self._bulk_get(metadata))
        if request.operation == "list":
            return await self._list(Arguments.read(request.data))
        key = metadata.get("key") or metadata.get("name") or needed(metadata, "key")
        if request.operation == "get":
            encode = flag(metadata, "encodeBase64", self._config.encode_base64)
            return InvokeResponse(await self._read(key, encode, Budget()))
        if request.operation == "delete":
            async with _known(key):
                await self._bucket.delete(key)
            return None
        if request.operation == "sign":
            ttl = metadata.get("signTTL") or self._config.sign_ttl or needed(metadata, "signTTL")
            return _json({"signURL": self._bucket.shared_url(key, share_seconds(ttl, "signTTL"))})
        return await self._copy(request, key)

    # --- the operations ---------------------------------------------------------------------

    async def _create(self, request: InvokeRequest) -> InvokeResponse:
        metadata = request.metadata
        key = metadata.get("key") or metadata.get("name") or str(uuid.uuid4())
        content = unquoted(request.data)
        if flag(metadata, "decodeBase64", self._config.decode_base64):
            content = from_base64(content)
        kind = metadata.get("contentType") or self._config.content_type or _kind(content)
        await self._bucket.put(key, content, header("contentType", kind))
        return _json({"objectURL": self._bucket.url(key)})

    async def _read(self, key: str, encode: bool, budget: Budget) -> bytes:
        async def once() -> bytes:
            async with _known(key), self._bucket.get(key) as exchange:
                parts = exchange.parts()
                return await budget.whole(as_base64(parts) if encode else parts)

        return await repeated(once)

    async def _bulk_get(self, metadata: Mapping[str, str]) -> list[dict[str, Any]]:
        encode = flag(metadata, "encodeBase64", self._config.encode_base64)
        budget = Budget()

        async def one(resource: Resource) -> dict[str, Any]:
            key = str(resource["name"])
            try:
                content = await self._read(key, encode, budget)
            except FileNotFoundError:
                return {}  # deleted meanwhile
            return {"name": key, "data": _text(key, content), "attrs": attributes(resource)}

        objects, _ = await self._bucket.list({}, _MOST_READ + 1)
        if len(objects) > _MOST_READ:
            raise ValueError(f"the bucket has more than {_MOST_READ} objects: list and get them")
        return [found for found in await in_parallel(objects, _AT_ONCE, one) if found]

    async def _list(self, arguments: Arguments) -> InvokeResponse:
        most = arguments.number("maxResults", _MOST, _MOST)
        objects, prefixes = await self._bucket.list(query_words(arguments), most)
        found = [described(resource) for resource in objects]
        found += [described({"prefix": prefix}) for prefix in prefixes]
        return _json(found or None)  # nothing is ``null``, as Go writes an empty list

    async def _copy(self, request: InvokeRequest, key: str) -> InvokeResponse:
        """``copy``, ``move`` and ``rename``; the place is said in the data or in the metadata."""
        arguments, own = Arguments.read(request.data), self._config.bucket
        bucket, name = own, key
        if request.operation == "rename":
            name = arguments.text("newName") or needed(request.metadata, "newName")
        else:
            field = "destinationBucket"
            bucket = arguments.text(field) or needed(request.metadata, field)
        if (bucket, name) == (own, key):
            # To copy an object onto itself and delete it then would be the end of it.
            raise ValueError(f"'{key}' is in the bucket '{own}' already")
        async with _known(key):
            generation = await self._bucket.copy(key, bucket, name)
            if request.operation != "copy":
                await self._bucket.delete(key, generation)
        return _json({"objectURL": self._bucket.url(name, bucket)})


@asynccontextmanager
async def _known(key: str) -> AsyncIterator[None]:
    try:
        yield
    except StorageError as error:
        if error.status == 404:
            raise FileNotFoundError(f"object not found: {key}: {error}") from error
        raise


def _kind(content: bytes) -> str:
    try:
        content.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain; charset=utf-8"


def _text(key: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError(f"the object '{key}' is no UTF-8 text: set encodeBase64") from None


def _json(found: Any) -> InvokeResponse:
    return InvokeResponse(orjson.dumps(found))
