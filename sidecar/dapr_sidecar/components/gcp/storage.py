"""One bucket of Google Cloud Storage over its JSON interface."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson

from dapr_sidecar.components.gcp.settings import GcpSettings
from dapr_sidecar.components.gcp.signed_urls import signed_url
from dapr_sidecar.components.gcp.tokens import GcpTokens
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.repeating import RefusedError, repeated
from dapr_sidecar.components.web import WebAnswer, WebExchange, WebService

_URL = "https://storage.googleapis.com"
_SECONDS = 30.0
_PAGE = 1000

Resource = dict[str, Any]
"""An object as the service describes it."""


class StorageError(RefusedError):
    """The service refused."""


class StorageBucket:
    """An endpoint of one's own without TLS (an emulator) gets no credentials."""

    def __init__(self, settings: GcpSettings, bucket: str, endpoint: str) -> None:
        """Raises ``SettingsError``."""
        given = endpoint or os.environ.get("STORAGE_EMULATOR_HOST", "")
        if given and "://" not in given:
            given = f"http://{given}"
        self._origin = (given or _URL).rstrip("/")
        self._tokens = GcpTokens(settings, _URL + "/")
        self._bucket = bucket
        try:
            self._service = WebService("Google Cloud Storage", self._origin, seconds=_SECONDS)
        except ValueError as error:
            raise SettingsError(f"invalid metadata field 'endpoint': '{given}': {error}") from None

    def url(self, key: str, bucket: str = "") -> str:
        """Where an object is, for those who may read it."""
        return f"{self._origin}/{bucket or self._bucket}/{urllib.parse.quote(key, safe='/-_.~')}"

    def shared_url(self, key: str, seconds: int) -> str:
        """The same, open to whoever has it. Raises ``ValueError`` without an account's key."""
        if (signer := self._tokens.signer()) is None:
            raise ValueError(
                "a URL is signed with the key of a service account: set the component's "
                "metadata fields 'private_key' and 'client_email'"
            )
        account, sign = signer
        path = self.url(key).removeprefix(self._origin)
        return signed_url(self._origin, path, account, sign, datetime.now(UTC), seconds)

    async def describe(self) -> None:
        """Raises ``StorageError`` when the bucket is not there, or not ours to look at."""
        await self._call("GET", f"/storage/v1/b/{_name(self._bucket)}?fields=name")

    async def put(self, key: str, content: bytes, kind: str) -> None:
        """Store an object in the place of what is there; ``kind`` is its content type."""
        target = f"/upload/storage/v1/b/{_name(self._bucket)}/o?uploadType=media&name={_name(key)}"
        await self._call("POST", target, content, {"content-type": kind})

    @asynccontextmanager
    async def get(self, key: str) -> AsyncIterator[WebExchange]:
        """An object as it arrives. Raises ``StorageError``, with 404 when there is none."""
        target = self._object(key) + "?alt=media"
        async with self._service.exchange("GET", target, await self._headers()) as exchange:
            if exchange.status != 200:
                self._check(await exchange.answer())
            yield exchange

    async def delete(self, key: str, generation: str = "") -> None:
        """With ``generation``, that one only. Raises ``StorageError``, 404 when it is not there."""
        condition = f"?ifGenerationMatch={generation}" if generation else ""
        await self._call("DELETE", self._object(key) + condition)

    async def list(self, words: Mapping[str, str], most: int) -> tuple[list[Resource], list[str]]:
        """Objects, and what stands for many of them when a delimiter is given.

        ``most`` of both together.
        """
        objects: list[Resource] = []
        prefixes: list[str] = []
        more = dict(words)
        while True:
            left = min(_PAGE, most - len(objects) - len(prefixes))
            query = urllib.parse.urlencode({**more, "maxResults": str(left)})
            page = _read(await self._call("GET", f"/storage/v1/b/{_name(self._bucket)}/o?{query}"))
            objects += page.get("items") or []
            prefixes += page.get("prefixes") or []
            is_enough = len(objects) + len(prefixes) >= most
            if is_enough or not (token := page.get("nextPageToken")):
                return objects, prefixes
            more["pageToken"] = token

    async def copy(self, key: str, new_bucket: str, new_key: str) -> str:
        """Copy an object; the generation of what was copied. Raises ``StorageError``."""
        source = _read(await self._call("GET", self._object(key) + "?fields=generation"))
        generation = str(source["generation"])
        place = f"/rewriteTo/b/{_name(new_bucket)}/o/{_name(new_key)}"
        words = {"sourceGeneration": generation}
        while True:  # a large object is copied in steps
            query = urllib.parse.urlencode(words)
            step = _read(await self._call("POST", f"{self._object(key)}{place}?{query}"))
            if step.get("done", True):
                return generation
            words["rewriteToken"] = step["rewriteToken"]

    async def close(self) -> None:
        """Cut every connection; safe to call twice."""
        await self._service.close()

    # --- inside -----------------------------------------------------------------------------

    def _object(self, key: str) -> str:
        return f"/storage/v1/b/{_name(self._bucket)}/o/{_name(key)}"

    async def _headers(self) -> dict[str, str]:
        if self._origin.startswith("http://"):
            return {}
        return {"authorization": f"Bearer {await self._tokens.get()}"}

    async def _call(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> WebAnswer:
        async def once() -> WebAnswer:
            named = {**(headers or {}), **await self._headers()}
            answer = await self._service.call(method, target, named, body)
            self._check(answer)
            return answer

        return await repeated(once)

    def _check(self, answer: WebAnswer) -> None:
        if answer.status < 300:
            return
        error = _read(answer).get("error")
        text = error.get("message", "") if isinstance(error, dict) else ""
        code = f"status {answer.status}"
        raise StorageError(f"{self._service.shown}: {text or code}", code, answer.status)


def _name(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _read(answer: WebAnswer) -> dict[str, Any]:
    try:
        found = orjson.loads(answer.body or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
