"""HTTP routes of the bindings API."""

from __future__ import annotations

from typing import Any

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.http.headers import safe_value
from dapr_common.http.messages import (
    BodyIncompleteError,
    BodyTooLargeError,
    Header,
    Request,
    Response,
)
from dapr_sidecar.api.http.responses import JSON_TYPE, empty, metadata_headers
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.blocks.bindings.output import BindingsBlock, OutputBindingError
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import Json


def routes(block: BindingsBlock) -> list[Route]:
    """The routes of the bindings API."""

    async def invoke(request: Request, name: str) -> Response:
        operation, data, metadata = _parse(await _body(request))
        if (baggage := request.header(b"baggage")) is not None:
            metadata["baggage"] = baggage.decode("latin-1")
        try:
            response = await block.invoke(name, operation, data, metadata)
        except OutputBindingError as error:
            error.http_headers = _safe_headers(error.metadata)
            raise
        if response is None:
            return empty()
        return Response(200, [JSON_TYPE, *_safe_headers(response.metadata)], response.data)

    pattern = "/v1.0/bindings/{name}"
    return [Route(("POST", "PUT"), pattern, "v1/bindings", "InvokeBinding", invoke)]


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = encoding.loads(await request.read())
    except (BodyTooLargeError, BodyIncompleteError, ValueError) as error:
        raise _malformed(error) from error
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise _malformed("expected an object")
    return body


def _parse(body: dict[str, Any]) -> tuple[str, bytes, dict[str, str]]:
    """Operation, data and metadata; Go ignores the case of names."""
    fields = {name.lower(): value for name, value in body.items()}
    operation, metadata = fields.get("operation"), fields.get("metadata")
    operation = "" if operation is None else operation
    metadata = {} if metadata is None else metadata
    if not isinstance(operation, str):
        raise _malformed("operation: expected a string")
    if not isinstance(metadata, dict):
        raise _malformed("metadata: expected an object")
    for name, value in metadata.items():
        if value is None:
            metadata[name] = ""
        elif not isinstance(value, str):
            raise _malformed(f"metadata.{name}: expected a string")
    return operation, encoding.plain(Json(fields.get("data"))), metadata


def _malformed(cause: object) -> DaprError:
    return DaprError(
        "ERR_MALFORMED_REQUEST",
        f"failed deserializing HTTP body: {cause}",
        http_status=400,
        grpc_code=GrpcCode.INVALID_ARGUMENT,
    )


def _safe_headers(metadata: Any) -> list[Header]:
    """Metadata came from somewhere else: none of it may write lines of its own."""
    return [(_name(name), safe_value(value)) for name, value in metadata_headers(metadata)]


def _name(name: bytes) -> bytes:
    return bytes(byte if 0x21 <= byte < 0x7F and byte != 0x3A else 0x5F for byte in name)
