"""HTTP routes of the cryptography API."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.http.messages import (
    BodyIncompleteError,
    BodyTooLargeError,
    Header,
    Request,
    Response,
)
from dapr_common.words import is_truthy
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.blocks.absent import not_implemented
from dapr_sidecar.blocks.crypto.block import CryptoBlock, EncryptOptions, operation_failed
from dapr_sidecar.blocks.crypto.errors import SchemeError

_BYTES: Header = (b"Content-Type", b"application/octet-stream")
_SUBTLE = ("getkey", "encrypt", "decrypt", "wrapkey", "unwrapkey", "sign", "verify")
_SUBTLE_NAMES = {"getkey": "GetKey", "wrapkey": "WrapKey", "unwrapkey": "UnwrapKey"}


def routes(block: CryptoBlock) -> list[Route]:
    """The routes of the cryptography API; the subtle ones only say that they are not there."""

    async def encrypt(request: Request, component: str) -> Response:
        block.require(component)
        options = EncryptOptions(
            key_name=_required(request, "dapr-key-name"),
            algorithm=_required(request, "dapr-key-wrap-algorithm"),
            cipher=_given(request, "dapr-data-encryption-cipher"),
            omit_key_name=is_truthy(_given(request, "dapr-omit-decryption-key-name")),
            decryption_key_name=_given(request, "dapr-decryption-key-name"),
        )
        return await _whole(block.encrypt(component, options, _body(request)))

    async def decrypt(request: Request, component: str) -> Response:
        block.require(component)
        key_name = _given(request, "dapr-key-name")
        return await _whole(block.decrypt(component, key_name, _body(request)))

    async def subtle(request: Request, component: str) -> Response:
        raise not_implemented()

    root, group = "/v1.0-alpha1/crypto/{name}", "v1alpha1/crypto"
    return [
        Route(("PUT",), f"{root}/encrypt", group, "Encrypt", encrypt),
        Route(("PUT",), f"{root}/decrypt", group, "Decrypt", decrypt),
        *(
            Route(
                ("POST",),
                f"/v1.0-alpha1/subtlecrypto/{{name}}/{verb}",
                "v1alpha1/subtlecrypto",
                "Subtle" + _SUBTLE_NAMES.get(verb, verb.capitalize()),
                subtle,
            )
            for verb in _SUBTLE
        ),
    ]


async def _body(request: Request) -> AsyncIterator[bytes]:
    # Read to its end first: most clients read no answer before they have sent everything.
    try:
        yield await request.read()
    except (BodyTooLargeError, BodyIncompleteError) as error:
        raise operation_failed(error) from error


async def _whole(pieces: AsyncIterator[bytes]) -> Response:
    """Nothing is sent before all of it is known to be genuine."""
    try:
        return Response(200, [_BYTES], b"".join([piece async for piece in pieces]))
    except SchemeError as error:
        raise DaprError("ERROR", str(error)) from error


def _given(request: Request, name: str) -> str:
    return (request.header(name.encode()) or b"").decode("utf-8", "replace")


def _required(request: Request, name: str) -> str:
    if value := _given(request, name):
        return value
    raise DaprError(
        "ERR_BAD_REQUEST",
        f"invalid request: missing header '{name}'",
        http_status=400,
        grpc_code=GrpcCode.INVALID_ARGUMENT,
    )
