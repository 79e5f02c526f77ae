"""Google Cloud Pub/Sub over its published REST interface."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import orjson

from dapr_sidecar.components.gcp.settings import GcpSettings
from dapr_sidecar.components.gcp.tokens import GcpTokens
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.web import WebError, WebService

_URL = "https://pubsub.googleapis.com"
# The service holds a request for messages open for about 90 seconds.
_PULL_SECONDS = 120.0
_PULL = ":pull"
# Any other, with all its repetitions.
_CALL_SECONDS = 15.0
_ATTEMPTS = 4
_FIRST_PAUSE = 0.2
_JSON = {"content-type": "application/json"}


class PubSubError(Exception):
    """The service refused; ``status`` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class PubSubClient:
    """Signed JSON calls. An endpoint of one's own (an emulator) gets no credentials."""

    def __init__(self, settings: GcpSettings, endpoint: str) -> None:
        """Raises ``SettingsError``."""
        given = endpoint or os.environ.get("PUBSUB_EMULATOR_HOST", "")
        if given and "://" not in given:
            google = given.partition(":")[0].endswith(".googleapis.com")
            given = ("https://" if google else "http://") + given
        url = given or _URL
        self._tokens: GcpTokens | None = None
        if url.startswith("https://"):
            self._tokens = GcpTokens(settings, _URL + "/")
        try:
            self._service = WebService("Google Cloud Pub/Sub", url, seconds=_PULL_SECONDS)
        except ValueError as error:
            raise SettingsError(f"invalid metadata field 'endpoint': '{given}': {error}") from None
        self._project = settings.project_id

    def topic(self, name: str) -> str:
        """A topic's full name."""
        return f"projects/{self._project}/topics/{name}"

    def subscription(self, name: str) -> str:
        """A subscription's full name."""
        return f"projects/{self._project}/subscriptions/{name}"

    async def call(
        self, target: str, words: Mapping[str, Any] | None = None, method: str = "POST"
    ) -> dict[str, Any]:
        """``target`` is a resource, with ``:verb`` for its verbs. Repeated when the service is
        busy, so it may be done twice. Raises ``PubSubError``, ``ConnectionError`` or ``WebError``,
        also past the deadline.
        """
        body = b"" if words is None else orjson.dumps(words)
        seconds = _PULL_SECONDS if target.endswith(_PULL) else _CALL_SECONDS
        try:
            async with asyncio.timeout(seconds):
                return await self._repeated(method, target, body)
        except TimeoutError as error:
            text = f"{self._service.shown}: no answer within {seconds:g} s ({target})"
            raise WebError(text, sent=True) from error

    async def _repeated(self, method: str, target: str, body: bytes) -> dict[str, Any]:
        for attempt in range(_ATTEMPTS - 1):
            try:
                return await self._once(method, target, body)
            except WebError as error:
                if error.sent and target.endswith(_PULL):
                    raise  # what a lost answer carried comes again by itself
            except PubSubError as error:
                if error.status != 429 and error.status < 500:
                    raise
            await asyncio.sleep(_FIRST_PAUSE * 2**attempt)
        return await self._once(method, target, body)

    async def close(self) -> None:
        """Cut every connection; safe to call twice."""
        await self._service.close()

    async def _once(self, method: str, target: str, body: bytes) -> dict[str, Any]:
        headers = dict(_JSON)
        if self._tokens is not None:
            headers["authorization"] = f"Bearer {await self._tokens.get()}"
        answer = await self._service.call(method, f"/v1/{target}", headers, body)
        try:
            found = orjson.loads(answer.body or b"{}")
        except orjson.JSONDecodeError:
            found = {}
        if answer.status == 200 and isinstance(found, dict):
            return found
        error = found.get("error") if isinstance(found, dict) else None
        text = error.get("message", "") if isinstance(error, dict) else ""
        raise PubSubError(
            f"{self._service.shown}: {text or f'status {answer.status}'} ({target})", answer.status
        )
