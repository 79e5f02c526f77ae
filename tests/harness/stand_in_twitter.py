"""A stand-in for X's API, version 2: recent search and posting, for one app and one user.

Written from the API's reference: signatures (RFC 5849), bearer tokens, pages, ``since_id``,
expansions, limits and their headers. Every post matches every query. It proves that our client does
what that text says, not how the service behaves.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.stand_in_server import Answered, Asked, serving

KEYS = {
    "consumerKey": "consumer-key",
    "consumerSecret": "consumer secret&",
    "accessToken": "12-access-token",
    "accessSecret": "access/secret+",
}
BEARER = "bearer-token"
_USER = {"id": "12", "name": "Ada", "username": "ada", "profile_image_url": "https://x.example/a"}
_EPOCH_MS = 1_288_834_974_657
_WEEK_MS = 7 * 86_400_000
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')

Post = dict[str, Any]


class StandInTwitter:
    """Keeps posts and what was asked. ``left`` requests of each kind are taken, if it is set."""

    def __init__(self) -> None:
        self.url = ""
        self.posts: list[Post] = []
        self.asked: list[Asked] = []
        self.left: int | None = None
        self.reset = 0  # when the limit is renewed, seconds since 1970
        self.failures: list[Answered] = []  # the next answers, whatever is asked
        self._nonces: set[str] = set()
        self._last = 0

    @property
    def searches(self) -> list[dict[str, str]]:
        """The parameters of every search so far."""
        return [one.query for one in self.asked if one.path.endswith("/search/recent")]

    def add(self, text: str, *, age_seconds: float = 0.0) -> str:
        """Post something; returns its id, which grows with time."""
        made = int((time.time() - age_seconds) * 1000) - _EPOCH_MS
        self._last = made << 22 if age_seconds else max(made << 22, self._last + 1)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime((made + _EPOCH_MS) / 1000))
        post = {"id": str(self._last), "text": text, "author_id": "12", "created_at": moment}
        self.posts.append(post)
        return str(self._last)

    def answer(self, asked: Asked) -> Answered:
        self.asked.append(asked)
        if self.failures:
            return self.failures.pop(0)
        if (refused := self._unauthorized(asked)) is not None:
            return refused
        headers = self._limits()
        if self.left is not None and self.left < 0:
            return Answered(
                429, {"title": "Too Many Requests", "detail": "Too Many Requests"}, headers
            )
        status, content = self._content(asked)
        return Answered(status, content, headers)

    def _limits(self) -> dict[str, str]:
        if self.left is None:
            return {}
        self.left -= 1
        return {
            "x-rate-limit-limit": "2",
            "x-rate-limit-remaining": str(max(self.left, 0)),
            "x-rate-limit-reset": str(self.reset),
        }

    def _content(self, asked: Asked) -> tuple[int, Any]:
        if (asked.method, asked.path) == ("GET", "/2/tweets/search/recent"):
            return self._search(asked.query)
        if (asked.method, asked.path) == ("POST", "/2/tweets"):
            return self._post(asked)
        return 404, {"title": "Not Found", "detail": f"{asked.path} is not there"}

    def _search(self, query: dict[str, str]) -> tuple[int, Any]:
        oldest = (int(time.time() * 1000) - _WEEK_MS - _EPOCH_MS) << 22
        since = int(query.get("since_id", "0"))
        size = int(query.get("max_results", "10"))
        if (
            not query.get("query")
            or not 10 <= size <= 100
            or ("since_id" in query and since < oldest)
        ):
            text = f"'since_id' must be a tweet id created after [...], was {since}"
            return 400, {"errors": [{"message": text}], "title": "Invalid Request"}
        newest_first = sorted(self.posts, key=lambda post: int(post["id"]), reverse=True)
        found = [post for post in newest_first if int(post["id"]) > max(since, oldest)]
        begin = int(query.get("next_token", "b0")[1:])
        page = found[begin : begin + size]
        meta: dict[str, Any] = {"result_count": len(page)}
        if not page:
            return 200, {"meta": meta}
        meta |= {"newest_id": page[0]["id"], "oldest_id": page[-1]["id"]}
        if begin + size < len(found):
            meta["next_token"] = f"b{begin + size}"
        content = {"data": page, "meta": meta}
        if "author_id" in query.get("expansions", ""):
            content["includes"] = {"users": [_USER]}
        return 200, content

    def _post(self, asked: Asked) -> tuple[int, Any]:
        words = json.loads(asked.body)
        if asked.headers.get("content-type") != "application/json" or not words.get("text"):
            return 400, {"title": "Invalid Request", "detail": "One or more parameters is invalid."}
        made = self.add(words["text"])
        return 201, {"data": {"id": made, "text": words["text"], "edit_history_tweet_ids": [made]}}

    # --- who asks ---------------------------------------------------------------------------

    def _unauthorized(self, asked: Asked) -> Answered | None:
        given = asked.headers.get("authorization", "")
        if given == f"Bearer {BEARER}":
            if asked.method == "GET":
                return None
            return Answered(403, {"title": "Unsupported Authentication", "detail": "App-only"})
        words = {name: urllib.parse.unquote(value) for name, value in _PARAMETER.findall(given[6:])}
        if given.startswith("OAuth ") and self._is_signed(asked, words):
            return None
        return Answered(401, {"title": "Unauthorized", "detail": "Unauthorized", "status": 401})

    def _is_signed(self, asked: Asked, words: dict[str, str]) -> bool:
        signature, nonce = words.pop("oauth_signature", ""), words.get("oauth_nonce", "")
        if nonce in self._nonces or abs(int(words["oauth_timestamp"]) - time.time()) > 300:
            return False
        self._nonces.add(nonce)
        known = (words["oauth_consumer_key"], words["oauth_token"])
        if known != (KEYS["consumerKey"], KEYS["accessToken"]):
            return False
        pairs = sorted((_quote(k), _quote(v)) for k, v in {**asked.query, **words}.items())
        normal = "&".join("=".join(pair) for pair in pairs)
        base = "&".join((asked.method, _quote(self.url + asked.path), _quote(normal)))
        key = "&".join((_quote(KEYS["consumerSecret"]), _quote(KEYS["accessSecret"])))
        digest = hmac.new(key.encode(), base.encode(), hashlib.sha1).digest()
        return signature == base64.b64encode(digest).decode()


def _quote(text: str) -> str:
    return urllib.parse.quote(text, safe="~")


@contextmanager
def stand_in_twitter() -> Iterator[StandInTwitter]:
    """One that serves for as long as a test needs it."""
    twitter = StandInTwitter()
    with serving(twitter.answer) as twitter.url:
        yield twitter
