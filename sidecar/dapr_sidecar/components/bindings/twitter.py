"""``bindings.twitter``: posts on X, formerly Twitter, as events, and posts to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import orjson

from dapr_common.moments import rfc3339
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import (
    EventHandler,
    InputBinding,
    InvokeRequest,
    InvokeResponse,
    OutputBinding,
)
from dapr_sidecar.components.bindings.text import text_of
from dapr_sidecar.components.bindings.twitter_client import TwitterClient
from dapr_sidecar.components.bindings.twitter_feed import FIELDS, Feed, posts_of
from dapr_sidecar.components.bindings.twitter_signing import Keys
from dapr_sidecar.components.metadata import SettingsError, setting

_STOP_SECONDS = 30.0
_ORDERS = {"recent": "recency", "mixed": "relevancy", "popular": "relevancy"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TwitterSettings:
    """A user's four keys, or a token that can only read."""

    consumer_key: str = setting("consumerKey", default="", secret=True, help="the app's key")
    consumer_secret: str = setting(
        "consumerSecret", default="", secret=True, help="the app's secret"
    )
    access_token: str = setting("accessToken", default="", secret=True, help="the user's token")
    access_secret: str = setting("accessSecret", default="", secret=True, help="its secret")
    bearer_token: str = setting(
        "bearerToken", default="", secret=True, help="the app's own token, to read with"
    )
    query: str = setting(
        "query", default="", help="which posts become events, in X's words; an input needs it"
    )
    interval: timedelta = setting(
        "pollInterval", default=timedelta(minutes=1), help="how often new posts are looked for"
    )
    endpoint: str = setting(
        "endpoint", default="https://api.x.com", help="URL of the service, for emulators"
    )

    def keys(self) -> Keys | None:
        """A user's keys, if there are any. Raises ``SettingsError`` when some are missing."""
        given = {
            "consumerKey": self.consumer_key,
            "consumerSecret": self.consumer_secret,
            "accessToken": self.access_token,
            "accessSecret": self.access_secret,
        }
        if self.bearer_token and not any(given.values()):
            return None
        for name, value in given.items():
            if not value:
                raise SettingsError(
                    f"missing required metadata field '{name}': expected the four keys of a user, "
                    "or 'bearerToken' alone, to read with"
                )
        return Keys(*given.values())


class TwitterBinding(InputBinding, OutputBinding):
    """``create`` posts the data, ``get`` searches recent posts; new ones that match are events.

    A post the app does not take comes again before any other.
    """

    settings: ClassVar[type[Any]] = TwitterSettings
    operations = ("create", "get")

    def __init__(self, settings: TwitterSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        if settings.interval <= timedelta(0):
            raise SettingsError(
                "invalid metadata field 'pollInterval': expected a duration above 0 such as 1m"
            )
        if not settings.query and "input" in _directions(context):
            raise _no_query()
        keys = settings.keys()
        try:
            self._client = TwitterClient(settings.endpoint, keys, settings.bearer_token)
        except ValueError as error:
            raise SettingsError(
                f"invalid metadata field 'endpoint': '{settings.endpoint}': {error}"
            ) from None
        self._query = settings.query
        self._feed = Feed(self._client, settings.query, settings.interval.total_seconds())
        self._task: asyncio.Task[None] | None = None

    async def close(self) -> None:
        await self.stop()
        await self._client.close()

    # --- operations -------------------------------------------------------------------------

    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None:
        self.check_operation(request)
        if request.operation == "create":
            return await self._post(request.data)
        return await self._search(request.metadata)

    async def _post(self, data: bytes) -> InvokeResponse:
        answer = await self._client.post(_words_of_post(data))
        return InvokeResponse(orjson.dumps(answer.get("data") or {}))

    async def _search(self, metadata: Mapping[str, str]) -> InvokeResponse:
        answer = await self._client.search(_words_of_search(metadata))
        posts = list(posts_of(answer))
        found = {
            "max_tweet_id": str(max((int(post["id"]) for post in posts), default=0)),
            "tweet_count": str(len(posts)),
            "search_ts": rfc3339(datetime.now(UTC)),
        }
        return InvokeResponse(orjson.dumps(posts), found)

    # --- events -----------------------------------------------------------------------------

    async def start(self, handler: EventHandler) -> None:
        if not self._query:
            raise _no_query()
        if self._task is None:
            self._task = asyncio.create_task(
                self._feed.run(handler), name=f"twitter {self._context.name}"
            )

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        self._feed.leave()
        if self._feed.delivering:
            await asyncio.wait((task,), timeout=_STOP_SECONDS)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _directions(context: ComponentContext) -> set[str]:
    given = {name.lower(): value for name, value in context.properties.items()}
    return {word.strip().lower() for word in given.get("direction", "").split(",")}


def _no_query() -> SettingsError:
    return SettingsError(
        "missing required metadata field 'query': expected what an input binding looks for, "
        "or 'direction' output"
    )


def _words_of_post(data: bytes) -> dict[str, Any]:
    """A text, or an object as X takes one: a text and what belongs to it. Raises ``ValueError``."""
    if data.startswith(b"{"):
        with contextlib.suppress(orjson.JSONDecodeError):
            found: dict[str, Any] = orjson.loads(data)
            return found
    if not (text := text_of(data)):
        raise ValueError("invalid data: expected the text of a post")
    return {"text": text}


def _words_of_search(metadata: Mapping[str, str]) -> dict[str, str]:
    """What X is asked. Raises ``ValueError`` naming what is missing or wrong."""
    query = metadata.get("query", "").strip()
    if not query:
        raise ValueError("missing metadata 'query': expected what to search for")
    result = metadata.get("result") or "recent"
    if result not in _ORDERS:
        raise ValueError(f"invalid metadata 'result': '{result}': expected {', '.join(_ORDERS)}")
    language = metadata.get("lang") or "en"
    if not (language.isascii() and language.replace("-", "").isalpha()):
        raise ValueError(f"invalid metadata 'lang': '{language}': expected a code such as en")
    if "lang:" not in query:
        query = f"({query}) lang:{language}"
    words = {"query": query, "max_results": "100", "sort_order": _ORDERS[result], **FIELDS}
    if since := metadata.get("since_id", ""):
        if not (since.isascii() and since.isdigit()):
            raise ValueError(f"invalid metadata 'since_id': '{since}': expected the id of a post")
        words["since_id"] = since
    return words
