"""Signed JSON calls to an AWS service, repeated when the service asks for patience."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from dapr_sidecar.components.aws.credentials import CredentialSource, domain
from dapr_sidecar.components.aws.settings import AwsSettings
from dapr_sidecar.components.aws.signing import Scope, sign
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.web import WebAnswer, WebError, WebService

_ATTEMPTS = 5
_FIRST_PAUSE = 0.05
_BUSY = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)


class AwsError(Exception):
    """The service refused; ``code`` is its word for why, ``body`` what else it said."""

    def __init__(self, message: str, code: str, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.body = body


class SignedService:
    """A service, and who calls it. ``seconds`` bounds one attempt."""

    def __init__(self, settings: AwsSettings, service: str, seconds: float) -> None:
        """Raises ``SettingsError``."""
        region = settings.checked_region()
        url = settings.endpoint or f"https://{service}.{region}.{domain(region)}"
        try:
            self._service = WebService(f"AWS {service}", url, seconds=seconds)
        except ValueError as error:
            raise SettingsError(
                f"invalid metadata field 'endpoint': '{settings.endpoint}': {error}"
            ) from None
        self._scope = Scope(region, service)
        self._credentials = CredentialSource(settings, region)

    @property
    def shown(self) -> str:
        """What errors call it."""
        return self._service.shown

    async def post(self, headers: Mapping[str, str], body: bytes) -> WebAnswer:
        """One signed request. Raises ``WebError`` or ``CredentialsError``."""
        named = {"host": self._service.authority, **headers}
        credentials = await self._credentials.get()
        signed = sign("POST", "/", named, body, credentials, self._scope, datetime.now(UTC))
        del signed["host"]  # the connection says it
        return await self._service.call("POST", "/", signed, body)

    def refusal(self, code: str, text: str, status: int, body: Mapping[str, Any]) -> AwsError:
        """An answer that is none; ``code`` is empty when the service gave no word for it."""
        code = code or f"status {status}"
        return AwsError(f"{self.shown}: {code}" + (f": {text}" if text else ""), code, status, body)

    async def close(self) -> None:
        """Cut every connection; safe to call twice."""
        await self._service.close()


class AwsJsonClient:
    """One service's JSON protocol. ``seconds`` bounds a call with all its repetitions."""

    def __init__(
        self, settings: AwsSettings, service: str, target_prefix: str, version: str, seconds: float
    ) -> None:
        """Raises ``SettingsError``."""
        self._service = SignedService(settings, service, seconds)
        self._prefix = target_prefix
        self._content_type = f"application/x-amz-json-{version}"
        self._seconds = seconds

    async def call(
        self, operation: str, request: Mapping[str, Any], *, repeatable: bool = True
    ) -> dict[str, Any]:
        """The answer. ``repeatable``: doing it twice does no harm, so a lost answer is asked again.

        Raises ``AwsError``, ``WebError`` or ``CredentialsError``.
        """
        body = orjson.dumps(request)
        try:
            async with asyncio.timeout(self._seconds):
                for attempt in range(_ATTEMPTS - 1):
                    try:
                        return await self._once(operation, body)
                    except (AwsError, WebError) as error:
                        if not _helps_to_repeat(error, repeatable):
                            raise
                    pause = _FIRST_PAUSE * 2**attempt
                    await asyncio.sleep(random.uniform(0, pause))  # noqa: S311
                return await self._once(operation, body)
        except TimeoutError as error:
            text = f"{self._service.shown}: no answer within {self._seconds:g} s"
            raise WebError(text, sent=True) from error

    async def close(self) -> None:
        """Cut every connection; safe to call twice."""
        await self._service.close()

    async def _once(self, operation: str, body: bytes) -> dict[str, Any]:
        headers = {
            "content-type": self._content_type,
            "x-amz-target": f"{self._prefix}.{operation}",
        }
        answer = await self._service.post(headers, body)
        content: dict[str, Any] = _json(answer.body)
        if answer.status == 200:
            return content
        code = str(content.get("__type", "")).rpartition("#")[2]
        text = content.get("message") or content.get("Message") or ""
        raise self._service.refusal(code, text, answer.status, content)


def _helps_to_repeat(error: AwsError | WebError, repeatable: bool) -> bool:
    if isinstance(error, WebError):
        return repeatable and error.sent
    return error.code in _BUSY or (repeatable and error.status >= 500)


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
