"""What the cryptography API means, for both transports."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from dapr_common.errors import DaprError, GrpcCode
from dapr_sidecar.blocks.crypto.errors import SchemeError
from dapr_sidecar.blocks.outbound import measured
from dapr_sidecar.components.crypto.base import CryptoProvider
from dapr_sidecar.context import SidecarContext

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EncryptOptions:
    """How to encrypt; ``decryption_key_name`` is written into the document in place of the key."""

    key_name: str
    algorithm: str
    cipher: str = ""
    omit_key_name: bool = False
    decryption_key_name: str = ""


class CryptoBlock:
    """Encrypts and decrypts documents with keys that stay in their provider."""

    def __init__(self, context: SidecarContext) -> None:
        self.context = context

    def require(self, name: str) -> CryptoProvider:
        """The provider of this name. Raises ``DaprError``."""
        providers = self.context.components.crypto
        if not providers:
            raise DaprError(
                "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED", "crypto providers not configured"
            )
        loaded = providers.get(name)
        if loaded is None:
            raise DaprError(
                "ERR_CRYPTO_PROVIDER_NOT_FOUND",
                f"crypto provider {name} not found",
                http_status=400,
                grpc_code=GrpcCode.INVALID_ARGUMENT,
            )
        return loaded.component

    async def encrypt(
        self, name: str, options: EncryptOptions, chunks: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        """The document, piece by piece. Raises ``DaprError`` before the first piece."""
        from dapr_sidecar.blocks.crypto import scheme  # its library is large

        provider = self.require(name)
        file_key = os.urandom(scheme.FILE_KEY_BYTES)
        try:
            algorithm = scheme.wrap_algorithm(options.algorithm)
            cipher = scheme.cipher_id(options.cipher)
            wrapped = await self._call(
                name, lambda: provider.wrap_key(file_key, algorithm, options.key_name)
            )
        except Exception as error:
            raise operation_failed(error) from error
        written = "" if options.omit_key_name else options.decryption_key_name or options.key_name
        manifest = scheme.Manifest(written, algorithm, wrapped, cipher, scheme.new_prefix())
        yield scheme.write_header(manifest, file_key)
        async for segment in scheme.seal(manifest, file_key, chunks):
            yield segment

    async def decrypt(
        self, name: str, key_name: str, chunks: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        """The plain text, piece by piece; ``key_name`` "" means the document's own.

        Raises ``DaprError`` for a bad header and ``SegmentError`` for a bad segment.
        """
        from dapr_sidecar.blocks.crypto import scheme  # as above

        provider = self.require(name)
        try:
            header, rest = await scheme.read_header(chunks)
            manifest = header.manifest
            wanted = key_name or manifest.key_name
            if not wanted:
                raise SchemeError("the document does not name its key, name it in the call")
            file_key = await self._call(
                name,
                lambda: provider.unwrap_key(manifest.wrapped, manifest.algorithm, wanted),
            )
            header.verify(file_key)
        except DaprError:  # the caller's input, not the operation
            raise
        except Exception as error:
            raise operation_failed(error) from error
        async for part in scheme.unseal(manifest, file_key, _after(rest, chunks)):
            yield part

    async def _call(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        return await measured(self.context, "crypto", "Crypto", name, "crypto_op", call)


async def _after(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    yield first
    async for chunk in chunks:
        yield chunk


def operation_failed(cause: object) -> DaprError:
    """The failure of an operation as both APIs report it."""
    return DaprError("ERR_CRYPTO", f"failed to perform operation: {cause}")
