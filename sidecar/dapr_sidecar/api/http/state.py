"""HTTP routes of the state API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from dapr_common.http.messages import (
    BodyIncompleteError,
    BodyTooLargeError,
    Header,
    Request,
    Response,
)
from dapr_common.json_text import html_escape
from dapr_sidecar.api.http.bodies import read_whole
from dapr_sidecar.api.http.responses import (
    JSON_TYPE,
    empty,
    first_param,
    json_response,
    metadata_headers,
    metadata_params,
)
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.blocks.state import errors
from dapr_sidecar.blocks.state.block import StateBlock
from dapr_sidecar.blocks.state.items import DeleteItem, SaveItem
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import BulkGetItem, Json

_WRITE = ("POST", "PUT")
_DEFAULT_PARALLELISM = 10
_UNREADABLE = "failed deserializing HTTP body"
_KINDS = {str: "a string", int: "a whole number", list: "a list", dict: "an object"}


class StateRoutes:
    """Parse, call the block, write."""

    def __init__(self, block: StateBlock) -> None:
        self._block = block

    def all(self) -> list[Route]:
        """The table."""
        group, query = "v1/state", "v1alpha1/state"
        base = "/v1.0/state/{store}"
        return [
            Route(("GET",), f"{base}/{{key}}", group, "GetState", self.get),
            Route(_WRITE, base, group, "SaveState", self.save),
            Route(("DELETE",), f"{base}/{{key}}", group, "DeleteState", self.delete),
            Route(_WRITE, f"{base}/bulk", group, "GetBulkState", self.bulk_get),
            Route(_WRITE, f"{base}/transaction", group, "ExecuteStateTransaction", self.transact),
            Route(
                _WRITE, "/v1.0-alpha1/state/{store}/query", query, "QueryStateAlpha1", self.query
            ),
        ]

    async def get(self, request: Request, store: str, key: str) -> Response:
        block = self._block
        view = block.view(store, http=True, name_app=True)
        query = request.query
        consistency = first_param(request, "consistency") if query else ""
        found = await block.get(view, key, consistency, metadata_params(request))
        if not found.data:
            return empty()
        content_type = JSON_TYPE
        if found.content_type:
            content_type = (b"Content-Type", found.content_type.encode())
        headers: list[Header] = [content_type]
        if found.etag is not None:
            headers.append((b"Etag", found.etag.encode()))
        if found.metadata:
            headers += metadata_headers(found.metadata)
        return Response(200, headers, found.data)

    async def save(self, request: Request, store: str) -> Response:
        block = self._block
        view = block.view(store, http=True, name_app=True)
        try:
            entries = await _json_body(request)
            if not isinstance(entries, list):
                raise _BodyError("expected an array of items")
            extra = metadata_params(request)
            items = [_save_item(entry, extra) for entry in entries]
        except _BodyError as error:
            raise errors.malformed(str(error)) from error
        for item in items:
            if not item.key:
                raise errors.malformed('"key" is a required field')
        await block.save(view, items)
        return empty()

    async def delete(self, request: Request, store: str, key: str) -> Response:
        block = self._block
        view = block.view(store, http=True, name_app=True)
        etag = request.header(b"if-match")
        item = DeleteItem(
            key,
            etag.decode("latin-1") if etag else None,
            metadata_params(request),
            first_param(request, "concurrency"),
            first_param(request, "consistency"),
        )
        await block.delete(view, item)
        return empty()

    async def bulk_get(self, request: Request, store: str) -> Response:
        block = self._block
        view = block.view(store, http=True, name_app=True)
        try:
            body = _folded(await _json_body(request))
            keys = _typed(body, "keys", list) or []
            parallelism = _typed(body, "parallelism", int)
            metadata = {**_text_map(body, "metadata"), **metadata_params(request)}
            if not all(isinstance(key, str) for key in keys):
                raise _BodyError("keys must be strings")
        except _BodyError as error:
            raise errors.malformed(f"{_UNREADABLE}: {error}") from error
        items = await block.bulk_get(
            view, keys, _DEFAULT_PARALLELISM if parallelism is None else parallelism, metadata
        )
        text = orjson.dumps([_bulk_item(item) for item in items])
        return Response(200, [JSON_TYPE], text + b"\n")

    async def transact(self, request: Request, store: str) -> Response:
        block = self._block
        view = block.view(store, http=True, name_app=True)
        block.transactional(view)
        extra = metadata_params(request)
        try:
            body = _folded(await _json_body(request))
            entries = _typed(body, "operations", list) or []
            items = [_operation(_folded(entry), extra) for entry in entries]
            metadata = _text_map(body, "metadata")
        except _BodyError as error:
            raise errors.malformed(f"{_UNREADABLE}: {error}") from error
        await block.transact(view, items, metadata)
        return empty()

    async def query(self, request: Request, store: str) -> Response:
        block = self._block
        body = await read_whole(request)
        view = block.view(store, http=True)
        result = await block.query(view, body, metadata_params(request))
        if not result.items:
            return empty()
        answer: dict[str, Any] = {"results": [_bulk_item(item) for item in result.items]}
        if result.token:
            answer["token"] = result.token
        if result.metadata:
            answer["metadata"] = dict(result.metadata)
        return json_response(answer)


def routes(block: StateBlock) -> list[Route]:
    """The routes of the state API."""
    return StateRoutes(block).all()


class _BodyError(ValueError):
    """What is wrong with a body; only a save says it without further words."""


async def _json_body(request: Request) -> object:
    try:
        body = request.body
        return encoding.loads(await request.read() if body is None else body)
    except (BodyTooLargeError, BodyIncompleteError, ValueError) as error:
        raise _BodyError(str(error)) from error


def _save_item(entry: object, extra: Mapping[str, str]) -> SaveItem:
    body = _folded(entry)
    metadata = _text_map(body, "metadata")
    options = body.get("options")
    concurrency = consistency = ""
    if options is not None:
        chosen = _folded(options)
        concurrency = _typed(chosen, "concurrency", str) or ""
        consistency = _typed(chosen, "consistency", str) or ""
    return SaveItem(
        _typed(body, "key", str) or "",
        Json(body.get("value")),
        _typed(body, "etag", str),
        {**metadata, **extra} if extra else metadata,
        concurrency,
        consistency,
        _typed(body, "contenttype", str) or "",
    )


def _operation(entry: Mapping[str, Any], extra: Mapping[str, str]) -> SaveItem | DeleteItem:
    kind = _typed(entry, "operation", str) or ""
    if kind not in ("upsert", "delete"):
        raise errors.operation_not_supported(kind)
    item = _save_item(entry.get("request") or {}, extra)
    if kind == "upsert":
        return item
    return DeleteItem(item.key, item.etag, item.metadata, item.concurrency, item.consistency)


def _folded(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _BodyError("expected an object")
    return {key.lower(): inner for key, inner in value.items()}


def _typed(body: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    value = body.get(name)
    if value is None or isinstance(value, kind):
        return value
    raise _BodyError(f"{name} must be {_KINDS[kind]}")


def _text_map(body: Mapping[str, Any], name: str) -> Mapping[str, str]:
    value = _typed(body, name, dict)
    if not value:
        return {}
    for key, inner in value.items():
        if inner is None:
            value[key] = ""
        elif not isinstance(inner, str):
            raise _BodyError(f"the values of {name} must be strings")
    found: Mapping[str, str] = value
    return found


def _bulk_item(item: BulkGetItem) -> dict[str, Any]:
    body: dict[str, Any] = {"key": item.key}
    if item.data:
        try:
            orjson.loads(item.data)
            body["data"] = orjson.Fragment(html_escape(item.data))
        except ValueError:
            item.error = item.error or "the stored value is not JSON: read it by its key alone"
    if item.etag:
        body["etag"] = item.etag
    if item.metadata:
        body["metadata"] = dict(item.metadata)
    if item.error:
        body["error"] = item.error
    return body


__all__: Sequence[str] = ["routes"]
