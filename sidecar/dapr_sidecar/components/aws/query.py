"""Signed form calls to an AWS service that answers in XML, such as SNS and STS."""

from __future__ import annotations

import asyncio
import html
import re
import urllib.parse
from collections.abc import Mapping

from dapr_sidecar.components.aws.client import AwsError, SignedService
from dapr_sidecar.components.aws.settings import AwsSettings
from dapr_sidecar.components.web import WebError

_ATTEMPTS = 4
_FIRST_PAUSE = 0.2
_BUSY = frozenset({"Throttling", "ThrottledException", "ThrottlingException", "InternalError"})
_ELEMENT = re.compile(r"<(\w+)>([^<]*)</\1>")


class AwsQueryClient:
    """One service's query protocol. ``seconds`` bounds one attempt."""

    def __init__(self, settings: AwsSettings, service: str, version: str, seconds: float) -> None:
        """Raises ``SettingsError``."""
        self._service = SignedService(settings, service, seconds)
        self._version = version

    async def call(self, action: str, words: Mapping[str, str]) -> dict[str, str]:
        """The answer's elements that hold text, by name (of equal ones the last).

        What failed on the way is tried again, so it may be done twice.
        Raises ``AwsError``, ``WebError`` or ``CredentialsError``.
        """
        form = {"Action": action, "Version": self._version, **words}
        body = urllib.parse.urlencode(form).encode()
        for attempt in range(_ATTEMPTS - 1):
            try:
                return await self._once(body)
            except WebError:
                pass
            except AwsError as error:
                if error.code not in _BUSY and error.status < 500:
                    raise
            await asyncio.sleep(_FIRST_PAUSE * 2**attempt)
        return await self._once(body)

    async def close(self) -> None:
        """Cut every connection; safe to call twice."""
        await self._service.close()

    async def _once(self, body: bytes) -> dict[str, str]:
        headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
        answer = await self._service.post(headers, body)
        found = {
            name: html.unescape(text)
            for name, text in _ELEMENT.findall(answer.body.decode("utf-8", "replace"))
        }
        if answer.status == 200:
            return found
        code, text = found.get("Code", ""), found.get("Message", "")
        raise self._service.refusal(code, text, answer.status, found)
