"""HTTP routes of the publish API."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from dapr_common.http.messages import BodyIncompleteError, BodyTooLargeError, Request, Response
from dapr_common.json_text import whole_characters
from dapr_sidecar.api.http.responses import empty, json_response, metadata_params
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.blocks.pubsub import errors
from dapr_sidecar.blocks.pubsub.envelope import ContentKind, content_kind
from dapr_sidecar.blocks.pubsub.publish import BulkItem, PubSubBlock
from dapr_sidecar.blocks.pubsub.rawjson import Raw, array_items, object_members

_METHODS = ("POST", "PUT")


def routes(block: PubSubBlock) -> list[Route]:
    """Publish, and bulk publish under both of its versions."""
    handlers = _Handlers(block)
    topic = "{pubsub}/{topic...}"
    return [
        Route(
            _METHODS,
            f"/v1.0/publish/{topic}",
            "v1/publish",
            "PublishEvent",
            handlers.publish,
        ),
        Route(
            _METHODS,
            f"/v1.0/publish/bulk/{topic}",
            "v1/publish",
            "BulkPublishEvent",
            handlers.bulk_publish,
        ),
        Route(
            _METHODS,
            f"/v1.0-alpha1/publish/bulk/{topic}",
            "v1alpha1/publish",
            "BulkPublishEvent",
            handlers.bulk_publish,
        ),
    ]


class _Handlers:
    def __init__(self, block: PubSubBlock) -> None:
        self._block = block

    async def publish(self, request: Request, pubsub: str, topic: str) -> Response:
        metadata = metadata_params(request)
        if request.body is None:
            self._block.find(pubsub, topic, metadata)
            body = await _body(request, pubsub, topic)
        else:
            body = request.body
        content_type = request.header(b"content-type")
        await self._block.publish(
            pubsub,
            topic,
            body,
            content_type.decode("latin-1") if content_type else "",
            metadata,
        )
        return empty()

    async def bulk_publish(self, request: Request, pubsub: str, topic: str) -> Response:
        metadata = metadata_params(request)
        self._block.find(pubsub, topic, metadata)
        body = await _body(request, pubsub, topic)
        app_id = self._block.context.identity.app_id
        try:
            entries = [_Entry(raw) for raw in array_items(body.decode("utf-8", "replace"))]
        except ValueError as error:
            raise errors.unmarshal_failed(pubsub, topic, app_id, error) from error
        items, seen = [], set()
        for entry in entries:
            try:
                event = entry.event_bytes()
            except ValueError as error:
                raise errors.bad_entry_content(pubsub, topic, app_id) from error
            if not entry.entry_id or entry.entry_id in seen:
                raise errors.bad_entry_id(pubsub, topic, app_id)
            seen.add(entry.entry_id)
            items.append(BulkItem(entry.entry_id, event, entry.content_type, entry.metadata))
        failed = await self._block.bulk_publish(pubsub, topic, items, metadata)
        return _failures(failed) if failed else empty()


def _failures(failed: Mapping[str, Exception]) -> Response:
    body = {
        "failedEntries": [
            {"entryId": entry_id, "error": str(error)} for entry_id, error in failed.items()
        ],
        "errorCode": "ERR_PUBSUB_PUBLISH_MESSAGE",
    }
    response = json_response(body, 500)
    text = str(next(iter(failed.values()))).encode("utf-8", "replace")
    response.headers.append((b"Metadata.error", b" ".join(text.split())))
    assert isinstance(response.body, bytes)
    response.headers.append((b"Metadata.responsedata", response.body.rstrip(b"\n")))
    return response


async def _body(request: Request, pubsub: str, topic: str) -> bytes:
    try:
        return await request.read()
    except (BodyTooLargeError, BodyIncompleteError) as error:
        raise errors.publish_failed(pubsub, topic, error) from error


class _Entry:
    """One entry of the request body. Raises ``ValueError`` where a member has the wrong type."""

    def __init__(self, raw: Raw) -> None:
        members: dict[str, Raw] = {}
        if raw.value is not None:
            if not isinstance(raw.value, dict):
                raise ValueError("an entry is not an object")
            members = {name.lower(): one for name, one in object_members(raw.text).items()}
        self.entry_id = whole_characters(_typed(members, "entryid", str) or "")
        self.content_type = whole_characters(_typed(members, "contenttype", str) or "")
        metadata = _typed(members, "metadata", dict) or {}
        metadata = {key: "" if value is None else value for key, value in metadata.items()}
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("metadata must hold text only")
        pairs = (
            (whole_characters(key), whole_characters(value)) for key, value in metadata.items()
        )
        self.metadata: dict[str, str] | None = dict(pairs) or None
        self._event = members.get("event", Raw(None, "null"))

    def event_bytes(self) -> bytes:
        """The event as its content type says. Raises ``ValueError`` when it does not fit."""
        kind = content_kind(self.content_type)
        value = self._event.value
        if kind is ContentKind.JSON or kind is ContentKind.CLOUD_EVENT:
            return self._event.text.encode("utf-8", "replace")
        if not isinstance(value, str):
            raise ValueError("the event is not text")
        if kind is ContentKind.TEXT:
            return whole_characters(value).encode()
        if kind is ContentKind.BINARY:
            try:
                return base64.b64decode(value, validate=True)
            except binascii.Error as error:
                raise ValueError("the event is not base64") from error
        raise ValueError("the content type is not known")


def _typed(members: Mapping[str, Raw], name: str, kind: type[Any]) -> Any:
    raw = members.get(name)
    if raw is None or raw.value is None:
        return None
    if not isinstance(raw.value, kind):
        raise ValueError(f"'{name}' has the wrong type")
    return raw.value
