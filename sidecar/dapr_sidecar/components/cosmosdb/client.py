"""One container of Azure Cosmos DB over its REST interface."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

import orjson

from dapr_sidecar.components.cosmosdb.signing import by_key, by_token
from dapr_sidecar.components.web import WebAnswer, WebError, WebService

_VERSION = "2020-07-15"
_ATTEMPTS = 5
_LONGEST_PAUSE = 2.0
_BUSY = (429, 449)
_RANGES_KEPT = 1000

Authorize = Callable[[str, str, str, str], Awaitable[str]]
"""Verb, kind of resource, link, date → the header's value."""


class CosmosError(Exception):
    """The service refused; ``status`` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def key_authorization(key: bytes) -> Authorize:
    """Requests are signed with the account's key."""

    async def authorize(verb: str, kind: str, link: str, moment: str) -> str:
        return by_key(verb, kind, link, moment, key)

    return authorize


def token_authorization(token: Callable[[], Awaitable[str]]) -> Authorize:
    """Requests carry a token of Microsoft Entra ID."""

    async def authorize(verb: str, kind: str, link: str, moment: str) -> str:
        return by_token(await token())

    return authorize


class CosmosContainer:
    """``seconds`` bounds each call with its repetitions."""

    def __init__(
        self, url: str, database: str, container: str, authorize: Authorize, seconds: float
    ) -> None:
        """Raises ``ValueError`` when the URL is none."""
        self._service = WebService("Cosmos DB", url, seconds=seconds)
        self._authorize = authorize
        self._seconds = seconds
        self._link = f"dbs/{database}/colls/{container}"
        self._sessions: dict[str, str] = {}

    async def describe(self) -> dict[str, Any]:
        """The container's own description."""
        answer = await self._call("GET", "colls", self._link, f"/{quote(self._link)}", {})
        return _object(answer)

    async def read(self, key: str, partition: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """A document. Raises ``CosmosError``, with 404 when it is not there."""
        answer = await self._document("GET", key, partition, headers)
        return _object(answer)

    async def create(
        self, document: Mapping[str, Any], partition: str, headers: Mapping[str, str]
    ) -> None:
        """Create, or with the header for it upsert, a document."""
        await self._post(document, {**_partition(partition), **headers})

    async def replace(self, document: Mapping[str, Any], partition: str, etag: str) -> None:
        body = orjson.dumps(document)
        headers = {"if-match": etag, "content-type": "application/json"}
        await self._document("PUT", document["id"], partition, headers, body)

    async def delete(self, key: str, partition: str, headers: Mapping[str, str]) -> None:
        await self._document("DELETE", key, partition, headers)

    async def batch(self, operations: list[dict[str, Any]], partition: str) -> list[dict[str, Any]]:
        """One partition's operations, all or none; a result for each."""
        headers = {
            **_partition(partition),
            "x-ms-cosmos-is-batch-request": "True",
            "x-ms-cosmos-batch-atomic": "True",
            "x-ms-cosmos-batch-continue-on-error": "False",
        }
        answer = await self._post(operations, headers)
        found: list[dict[str, Any]] = orjson.loads(answer.body)
        return found

    async def query(
        self, text: str, parameters: list[dict[str, Any]], headers: Mapping[str, str]
    ) -> tuple[list[dict[str, Any]], str]:
        """Documents, and where the next page begins."""
        body = {"query": text, "parameters": parameters}
        more = {
            "content-type": "application/query+json",
            "x-ms-documentdb-isquery": "True",
            **headers,
        }
        answer = await self._post(body, more)
        documents: list[dict[str, Any]] = _object(answer).get("Documents", [])
        return documents, answer.headers.get("x-ms-continuation", "")

    async def close(self) -> None:
        """Cut every connection; safe to call twice."""
        await self._service.close()

    # --- inside -----------------------------------------------------------------------------

    async def _post(self, body: Any, headers: Mapping[str, str]) -> WebAnswer:
        return await self._call(
            "POST",
            "docs",
            self._link,
            f"/{quote(self._link)}/docs",
            {"content-type": "application/json", **headers},
            orjson.dumps(body),
        )

    async def _document(
        self, verb: str, key: str, partition: str, headers: Mapping[str, str], body: bytes = b""
    ) -> WebAnswer:
        target = f"/{quote(self._link)}/docs/{quote(key, safe='')}"
        link = f"{self._link}/docs/{key}"
        return await self._call(
            verb, "docs", link, target, {**_partition(partition), **headers}, body
        )

    async def _call(
        self,
        verb: str,
        kind: str,
        link: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes = b"",
    ) -> WebAnswer:
        try:
            async with asyncio.timeout(self._seconds):
                for attempt in range(_ATTEMPTS):
                    answer = await self._once(verb, kind, link, target, headers, body)
                    if answer.status not in _BUSY or attempt == _ATTEMPTS - 1:
                        break
                    wanted = float(answer.headers.get("x-ms-retry-after-ms") or 50) / 1000
                    await asyncio.sleep(min(wanted, _LONGEST_PAUSE))
        except TimeoutError as error:
            text = f"{self._service.shown}: no answer within {self._seconds:g} s"
            raise WebError(text, sent=True) from error
        if answer.status >= 400:
            raise CosmosError(f"{self._service.shown}: {_why(answer)}", answer.status)
        return answer

    async def _once(
        self,
        verb: str,
        kind: str,
        link: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> WebAnswer:
        moment = formatdate(usegmt=True)
        all_headers = {
            "accept": "application/json",
            "x-ms-version": _VERSION,
            "x-ms-date": moment,
            "authorization": await self._authorize(verb, kind, link, moment),
            **headers,
        }
        if self._sessions:  # what was written here is read here, also from a replica
            all_headers["x-ms-session-token"] = ",".join(
                f"{part}:{place}" for part, place in self._sessions.items()
            )
        answer = await self._service.call(verb, target, all_headers, body)
        self._remember(answer.headers.get("x-ms-session-token", ""))
        return answer

    def _remember(self, token: str) -> None:
        """Keep each partition's last place: ``0:-1#1234`` is place 1234 of partition 0."""
        for one in token.split(","):
            part, _, place = one.partition(":")
            if not place:
                continue
            known = self._sessions.get(part)
            if known is None and len(self._sessions) >= _RANGES_KEPT:
                self._sessions.clear()
            if known is None or _place(place) >= _place(known):
                self._sessions[part] = place


def _place(text: str) -> int:
    """The global number in ``version#number`` or ``version#number#region=number``."""
    numbers = text.split("#")
    number = numbers[1] if len(numbers) > 1 else numbers[0]
    return int(number) if number.isdecimal() else 0


def _partition(key: str) -> dict[str, str]:
    # A header is ASCII: what is not goes as JSON's escapes.
    return {"x-ms-documentdb-partitionkey": json.dumps([key])}


def _object(answer: WebAnswer) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(answer.body)
    return found


def _why(answer: WebAnswer) -> str:
    try:
        words = _object(answer)
    except ValueError:
        words = {}
    text = str(words.get("message") or "").strip().splitlines()
    return f"status {answer.status}" + (f": {text[0]}" if text else "")
