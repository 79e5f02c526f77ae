"""What the secret stores of AWS ask of their services: a secret, pages of names, a sign of life."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from dapr_sidecar.components.aws.client import AwsError, AwsJsonClient
from dapr_sidecar.components.aws.settings import AwsSettings
from dapr_sidecar.components.metadata import SettingsError

# Below the time that a component has to come up, so that the reason is told.
_SECONDS = 4.0
_VERSION = "1.1"
_ABSENT = frozenset({"ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"})
PROBE = "dapr-probe"
"""A name to ask for when only the answer counts: reading is what services limit the least."""
# The service knows who we are; that name is none we have to have a right to.
_NOT_ALLOWED = frozenset({"AccessDenied", "AccessDeniedException"})
_UNKNOWN_CALLER = frozenset(
    {
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


class AwsSecretClient:
    """``service`` is the host's first word, ``target_prefix`` what its operations begin with."""

    def __init__(self, settings: AwsSettings, service: str, target_prefix: str) -> None:
        """Raises ``SettingsError``."""
        self._client = AwsJsonClient(settings, service, target_prefix, _VERSION, _SECONDS)

    async def secret(self, name: str, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer about one secret.

        Raises ``LookupError`` when there is no such secret, else what ``AwsJsonClient`` raises.
        """
        try:
            return await self._client.call(operation, request)
        except AwsError as error:
            if error.code in _ABSENT:
                raise LookupError(f"secret {name} not found: {error}") from error
            raise

    async def pages(
        self, operation: str, request: Mapping[str, Any], member: str
    ) -> AsyncIterator[dict[str, Any]]:
        """Every entry of a listing."""
        token: str | None = None
        while True:
            more = {"NextToken": token} if token else {}
            answer = await self._client.call(operation, {**request, **more})
            for entry in answer.get(member) or ():
                yield entry
            if not (token := answer.get("NextToken")):
                return

    async def probe(self, operation: str, request: Mapping[str, Any]) -> None:
        """Raise unless the service is there and takes our signature; ``request`` reads a secret."""
        try:
            await self._client.call(operation, request)
        except AwsError as error:
            if error.code in _UNKNOWN_CALLER:
                raise SettingsError(
                    "the credentials of 'accessKey', 'secretKey' and 'sessionToken', or of the "
                    f"surroundings, are not taken: {error}"
                ) from error
            if error.code not in _NOT_ALLOWED | _ABSENT:
                raise

    async def close(self) -> None:
        """Cut every connection; safe to call twice."""
        await self._client.close()
