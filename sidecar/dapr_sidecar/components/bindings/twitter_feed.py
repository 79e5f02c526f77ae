"""Posts that match a query, as they come: oldest first, each until the app takes it.

The place in the stream moves when the app has taken a post, and not before: what it refuses comes
again, what waits behind it stays with the service. Nothing is delivered twice within a run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import orjson

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.bindings.base import Event, EventHandler
from dapr_sidecar.components.bindings.twitter_client import LimitError, TwitterClient, TwitterError
from dapr_sidecar.components.web import WebError

_LOG = get_logger("dapr.contrib.bindings.twitter")
_HELD = 1000
_MOST_PAGES = 100
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_EPOCH_MS = 1_288_834_974_657
"""Where the time in a post's id begins."""
_OLDEST_SECONDS = 6 * 86_400
"""The service looks back seven days, and refuses a ``since_id`` that is older."""

Words = dict[str, str]
FIELDS: Mapping[str, str] = {
    "tweet.fields": "author_id,conversation_id,created_at,entities,in_reply_to_user_id,lang,"
    "public_metrics,referenced_tweets",
    "expansions": "author_id",
    "user.fields": "name,profile_image_url,username",
}
"""What is asked of each post beside its id and text."""


def posts_of(answer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The posts of a page, each with its ``author``; newest first, as the service has them."""
    includes = answer.get("includes") or {}
    authors = {user.get("id"): user for user in includes.get("users") or ()}
    for post in answer.get("data") or ():
        author = authors.get(post.get("author_id"))
        yield post if author is None else {**post, "author": author}


class Feed:
    """One query's stream. ``sleep`` takes seconds; tests bring their own."""

    def __init__(
        self,
        client: TwitterClient,
        query: str,
        interval: float,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """``interval``: seconds between two questions."""
        self._client = client
        self._query = query
        self._interval = interval
        self._sleep = sleep
        self._since: int | None = None
        """The newest post that was taken; ``None`` before the service was asked at all."""
        self._stopping = False
        self.delivering = False
        """Whether the app has a post right now."""

    async def run(self, handler: EventHandler) -> None:
        """Deliver until ``leave`` is called; may be run again, and goes on where it was."""
        self._stopping = False
        while not self._stopping:
            try:
                if self._since is None:
                    self._since = await self._newest()
                else:
                    await self._round(handler, self._since)
            except Exception as error:  # noqa: BLE001 - an odd answer must not end the events
                _LOG.error("posts that match '%s' cannot be read: %r", self._query, error)
            if not self._stopping:
                await self._sleep(self._interval)

    def leave(self) -> None:
        """Begin nothing more. What the app has is its own to finish."""
        self._stopping = True

    async def _newest(self) -> int:
        """What is there already when the binding starts is none of its events."""
        answer = await self._ask({"query": self._query, "max_results": "10"})
        return max((int(post["id"]) for post in posts_of(answer)), default=0)

    async def _round(self, handler: EventHandler, since: int) -> None:
        for post in reversed(await self._newer(since)):
            if self._stopping:
                return
            if int(post["id"]) > (self._since or 0):  # on two pages, when some came meanwhile
                await self._deliver(post, handler)

    async def _newer(self, since: int) -> deque[dict[str, Any]]:
        """Posts after one, newest first. Of more than can be held the oldest are: they are next."""
        words = {"query": self._query, "max_results": "100", **FIELDS}
        if _age(since, self._client.now()) < _OLDEST_SECONDS:
            words["since_id"] = str(since)
        held: deque[dict[str, Any]] = deque(maxlen=_HELD)
        for _ in range(_MOST_PAGES):
            answer = await self._ask(words)
            page = list(posts_of(answer))
            held.extend(post for post in page if int(post["id"]) > since)
            token = (answer.get("meta") or {}).get("next_token")
            if not token or any(int(post["id"]) <= since for post in page):
                return held
            words["next_token"] = str(token)
        _LOG.warning(
            "more than %d posts match '%s' since the last: older ones are left out",
            _MOST_PAGES * 100,
            self._query,
        )
        return held

    async def _ask(self, words: Words) -> dict[str, Any]:
        """One page, however long it takes; limits are kept."""
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._client.search(words)
            except LimitError as error:
                _LOG.info("%s", error)
                await self._sleep(max(error.until - self._client.now(), _FIRST_PAUSE))
            except (TwitterError, WebError) as error:
                _LOG.warning("posts that match '%s' cannot be read: %s", self._query, error)
                await self._sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _deliver(self, post: dict[str, Any], handler: EventHandler) -> None:
        event = Event(orjson.dumps(post), {"query": self._query})
        pause = _FIRST_PAUSE
        while not self._stopping:
            self.delivering = True
            try:
                await handler(event)
            except Exception as error:  # noqa: BLE001 - whatever it was, the post comes again
                _LOG.warning("the app did not take post %s: %s", post["id"], error)
            else:
                self._since = int(post["id"])
                return
            finally:
                self.delivering = False
            if not self._stopping:
                await self._sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)


def _age(post: int, now: float) -> float:
    """Seconds since a post was made, which is in its id."""
    return now - ((post >> 22) + _EPOCH_MS) / 1000
