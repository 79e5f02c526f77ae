"""gRPC methods of the cryptography API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.grpc.server import Context, Method
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import crypto_pb2 as pb
from dapr_sidecar.blocks.absent import not_implemented
from dapr_sidecar.blocks.crypto.block import CryptoBlock, EncryptOptions, operation_failed
from dapr_sidecar.blocks.crypto.errors import SchemeError

_SERVICE = "/dapr.proto.runtime.v1.Dapr/"
_FIRST_MESSAGE_SECONDS = 5.0
_SUBTLE = ("GetKey", "Encrypt", "Decrypt", "WrapKey", "UnwrapKey", "Sign", "Verify")


def methods(block: CryptoBlock) -> list[Method]:
    """The methods of the cryptography API; the subtle ones only say that they are not there."""

    async def encrypt(
        requests: AsyncIterator[pb.EncryptRequest], context: Context
    ) -> AsyncIterator[pb.EncryptResponse]:
        first = await _first(requests)
        options = first.options
        chosen = EncryptOptions(
            key_name=_required(options.key_name, "key_name"),
            algorithm=_required(options.key_wrap_algorithm, "key_wrap_algorithm"),
            cipher=options.data_encryption_cipher,
            omit_key_name=options.omit_decryption_key_name,
            decryption_key_name=options.decryption_key_name,
        )
        pieces = block.encrypt(options.component_name, chosen, _payload(first, requests))
        async with aclosing(_numbered(pieces, pb.EncryptResponse)) as responses:
            async for response in responses:
                yield response

    async def decrypt(
        requests: AsyncIterator[pb.DecryptRequest], context: Context
    ) -> AsyncIterator[pb.DecryptResponse]:
        first = await _first(requests)
        options = first.options
        pieces = block.decrypt(options.component_name, options.key_name, _payload(first, requests))
        async with aclosing(_numbered(pieces, pb.DecryptResponse)) as responses:
            async for response in responses:
                yield response

    async def subtle(request: Any, context: Context) -> Any:
        raise not_implemented()

    return [
        Method(
            _SERVICE + "EncryptAlpha1",
            "stream_stream",
            pb.EncryptRequest,
            pb.EncryptResponse,
            encrypt,
        ),
        Method(
            _SERVICE + "DecryptAlpha1",
            "stream_stream",
            pb.DecryptRequest,
            pb.DecryptResponse,
            decrypt,
        ),
        *(
            Method(f"{_SERVICE}Subtle{name}Alpha1", "unary_unary", None, None, subtle)
            for name in _SUBTLE
        ),
    ]


async def _first(requests: AsyncIterator[Any]) -> Any:
    """The message with the options. Raises ``DaprError``."""
    try:
        async with asyncio.timeout(_FIRST_MESSAGE_SECONDS):
            first = await anext(requests, None)
    except TimeoutError as error:
        raise _invalid("the first message did not come in time") from error
    if first is None or not first.HasField("options"):
        raise _invalid("the first message must contain the options")
    return first


async def _payload(first: Any, requests: AsyncIterator[Any]) -> AsyncGenerator[bytes, None]:
    """The data of all messages, checked for order."""
    expected = 0
    if first.HasField("payload"):
        expected = _in_order(first.payload, expected)
        yield first.payload.data
    async for request in requests:
        if request.HasField("options"):
            raise _invalid("options are allowed in the first message only")
        expected = _in_order(request.payload, expected)
        yield request.payload.data


def _in_order(payload: common_pb2.StreamPayload, expected: int) -> int:
    if payload.seq != expected:
        raise _invalid(f"invalid sequence number: expected {expected}, got {payload.seq}")
    return expected + 1


async def _numbered(
    pieces: AsyncGenerator[bytes, None], kind: Callable[..., Any]
) -> AsyncGenerator[Any, None]:
    seq = 0
    async with aclosing(pieces):
        try:
            async for piece in pieces:
                if piece:
                    yield kind(payload=common_pb2.StreamPayload(data=piece, seq=seq))
                    seq += 1
        except SchemeError as error:
            raise operation_failed(error) from error


def _required(value: str, name: str) -> str:
    if value:
        return value
    raise _invalid(f"missing property '{name}' in the options")


def _invalid(text: str) -> DaprError:
    return DaprError(
        "ERR_BAD_REQUEST",
        f"invalid request: {text}",
        http_status=400,
        grpc_code=GrpcCode.INVALID_ARGUMENT,
    )
