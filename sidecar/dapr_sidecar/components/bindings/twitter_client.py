"""X's API, version 2: signed calls that wait for no limit and never go past one."""

from __future__ import annotations

import secrets
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from dapr_sidecar.components.bindings.twitter_signing import Keys, authorization, encode
from dapr_sidecar.components.web import WebAnswer, WebService

SEARCH = "/2/tweets/search/recent"
POSTS = "/2/tweets"
_CALL_SECONDS = 30.0
_TOO_MANY = 429
_LIMITS = ("x-rate-limit", "x-app-limit-24hour", "x-user-limit-24hour")
_SHORTEST_WAIT, _USUAL_WAIT, _LONGEST_WAIT = 1.0, 60.0, 900.0
"""Seconds. Most limits are renewed within 15 minutes: a wrong clock must not stop us for longer."""
_SHOWN_CHARACTERS = 500


class TwitterError(Exception):
    """The service refused; ``status`` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class LimitError(TwitterError):
    """The service takes no more for now; ``until`` is when it does, seconds since 1970."""

    def __init__(self, message: str, until: float) -> None:
        super().__init__(message, _TOO_MANY)
        self.until = until


class TwitterClient:
    """Calls with a user's keys, or reads with an app's ``bearer`` token where there is one."""

    def __init__(
        self, url: str, keys: Keys | None, bearer: str, now: Callable[[], float] = time.time
    ) -> None:
        """``now`` is the time in seconds since 1970. Raises ``ValueError`` for a wrong URL."""
        self._service = WebService("X", url, seconds=_CALL_SECONDS)
        parts = urllib.parse.urlsplit(url)
        self._base = f"{parts.scheme}://{self._service.authority}{parts.path.rstrip('/')}"
        self._keys = keys
        self._bearer = bearer
        self.now = now
        self._closed_until: dict[str, float] = {}

    async def search(self, words: Mapping[str, str]) -> dict[str, Any]:
        """One page of recent posts. Raises ``TwitterError`` or ``WebError``."""
        return await self._call("GET", SEARCH, words, b"")

    async def post(self, words: Mapping[str, Any]) -> dict[str, Any]:
        """Post for the user. Raises ``TwitterError`` or ``WebError``."""
        return await self._call("POST", POSTS, {}, orjson.dumps(words))

    async def close(self) -> None:
        """Cut every connection; safe to call twice."""
        await self._service.close()

    async def _call(
        self, method: str, path: str, query: Mapping[str, str], body: bytes
    ) -> dict[str, Any]:
        if (until := self._closed_until.get(path, 0.0)) > self.now():
            raise self._limit(until)
        headers = {"authorization": self._authorization(method, path, query)}
        if body:
            headers["content-type"] = "application/json"
        target = path
        if query:
            pairs = (f"{encode(name)}={encode(value)}" for name, value in query.items())
            target += "?" + "&".join(pairs)
        answer = await self._service.call(method, target, headers, body)
        self._note_limits(path, answer)
        content = _json(answer.body)
        if answer.status == _TOO_MANY:
            raise self._limit(self._closed_until[path])
        if not 200 <= answer.status < 300:
            text = _reason(content) or f"status {answer.status}"
            raise TwitterError(f"{self._service.shown}: {text}", answer.status)
        return content

    def _authorization(self, method: str, path: str, query: Mapping[str, str]) -> str:
        if self._bearer and method == "GET":
            return f"Bearer {self._bearer}"
        if self._keys is None:
            raise ValueError("posting needs the keys of a user: a bearer token can only read")
        return authorization(
            method,
            self._base + path,
            query,
            self._keys,
            nonce=secrets.token_hex(16),
            seconds=int(self.now()),
        )

    def _note_limits(self, path: str, answer: WebAnswer) -> None:
        """What is used up stays closed until the service says it is renewed."""
        now, headers = self.now(), answer.headers
        resets = [
            _number(headers.get(f"{name}-reset", ""))
            for name in _LIMITS
            if headers.get(f"{name}-remaining") == "0"
        ]
        until = max(resets, default=0.0)
        if answer.status == _TOO_MANY:
            until = until or _number(headers.get("x-rate-limit-reset", "")) or now + _USUAL_WAIT
            until = max(until, now + _SHORTEST_WAIT)
        if until > now:
            self._closed_until[path] = min(until, now + _LONGEST_WAIT)

    def _limit(self, until: float) -> LimitError:
        seconds = max(round(until - self.now()), 1)
        return LimitError(
            f"{self._service.shown}: too many requests: the next is taken in {seconds} s", until
        )


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _reason(content: Mapping[str, Any]) -> str:
    errors = content.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else {}
    words = (first.get("message") if isinstance(first, dict) else "", content.get("detail"))
    return next((str(one)[:_SHOWN_CHARACTERS] for one in (*words, content.get("title")) if one), "")


def _number(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() else 0.0
