"""``crypto.aws.kms``: keys that never leave the AWS Key Management Service; ours, not Dapr's."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from dapr_sidecar.components.aws.client import AwsError, AwsJsonClient
from dapr_sidecar.components.aws.credentials import CredentialsError
from dapr_sidecar.components.aws.settings import AwsSettings
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.crypto.base import CryptoProvider, request_seconds
from dapr_sidecar.components.crypto.keys import KeyUseError
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.web import WebError

# Dapr's word → the service's. What a symmetric key wraps is in the service's own form.
_ALGORITHMS = {"RSA-OAEP-256": "RSAES_OAEP_SHA_256", "A256KW": "SYMMETRIC_DEFAULT"}

# The service knows who we are; the right to list is not what using a key takes.
_NOT_ALLOWED = frozenset({"AccessDenied", "AccessDeniedException"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsCryptoSettings(AwsSettings):
    """Settings of ``crypto.aws.kms``."""

    request_timeout: timedelta = setting(
        "requestTimeout",
        default=timedelta(seconds=30),
        help="how long one call to the service may take",
    )


class KmsCrypto(CryptoProvider):
    """A key is named by its id, its ARN or `alias/name`; `AES` asks for a symmetric key."""

    settings: ClassVar[type[Any]] = KmsCryptoSettings

    def __init__(self, settings: KmsCryptoSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        seconds = request_seconds("requestTimeout", settings.request_timeout)
        self._client = AwsJsonClient(settings, "kms", "TrentService", "1.1", seconds)

    async def close(self) -> None:
        await self._client.close()

    async def ping(self) -> None:
        try:
            await self._client.call("ListKeys", {"Limit": 1})
        except AwsError as error:
            if error.code not in _NOT_ALLOWED:
                raise

    async def wrap_key(self, key: bytes, algorithm: str, key_name: str) -> bytes:
        return await self._ask("Encrypt", {"Plaintext": _text(key)}, algorithm, key_name)

    async def unwrap_key(self, wrapped: bytes, algorithm: str, key_name: str) -> bytes:
        return await self._ask("Decrypt", {"CiphertextBlob": _text(wrapped)}, algorithm, key_name)

    async def _ask(
        self, operation: str, data: dict[str, str], algorithm: str, key_name: str
    ) -> bytes:
        """One operation with a key. Raises ``KeyUseError``."""
        if (word := _ALGORITHMS.get(algorithm)) is None:
            known = ", ".join(_ALGORITHMS)
            raise KeyUseError(f"algorithm '{algorithm}' is not supported: use one of {known}")
        request = {"KeyId": key_name, "EncryptionAlgorithm": word, **data}
        try:
            answer = await self._client.call(operation, request)
        except (AwsError, WebError, CredentialsError) as error:
            raise KeyUseError(f"key '{key_name}': {error}") from error
        found = answer.get("CiphertextBlob" if operation == "Encrypt" else "Plaintext")
        if not isinstance(found, str) or not found:
            raise KeyUseError("AWS kms gave an answer without a result")
        return base64.b64decode(found)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
