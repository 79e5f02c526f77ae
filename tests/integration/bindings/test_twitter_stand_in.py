"""Posts of a stand-in for X's API: the service itself cannot be had here."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from harness.block_api import make
from harness.component_table import until
from harness.stand_in_server import Answered
from harness.stand_in_twitter import BEARER, KEYS, StandInTwitter, stand_in_twitter

from dapr_sidecar.components.bindings.base import Event, InvokeRequest, InvokeResponse
from dapr_sidecar.components.bindings.twitter import TwitterBinding
from dapr_sidecar.components.bindings.twitter_client import LimitError, TwitterClient, TwitterError
from dapr_sidecar.components.bindings.twitter_feed import Feed
from dapr_sidecar.components.bindings.twitter_signing import Keys

Open = Callable[..., Awaitable[Any]]
DAY = 86_400.0


@pytest.fixture
def twitter() -> Iterator[StandInTwitter]:
    with stand_in_twitter() as found:
        yield found


@pytest.fixture
async def open_binding(twitter: StandInTwitter) -> AsyncIterator[Open]:
    made: list[Any] = []

    async def run(**properties: str) -> Any:
        words = {
            "endpoint": twitter.url,
            "query": "dapr",
            "pollInterval": "50ms",
            **(KEYS if "bearerToken" not in properties else {}),
            **properties,
        }
        binding = make(TwitterBinding, "x", **words)
        made.append(binding)
        await binding.open()
        return binding

    yield run
    for binding in made:
        await binding.close()


async def call(binding: Any, operation: str, data: bytes = b"", **metadata: str) -> InvokeResponse:
    found = await binding.invoke(InvokeRequest(operation, data, metadata))
    assert isinstance(found, InvokeResponse)
    return found


# --- operations -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'"of HTTP \\u0026 \xc3\xa4"', "of HTTP & ä"),
        (b"of gRPC", "of gRPC"),
        (b'{"text":"with more","reply_settings":"mentionedUsers"}', "with more"),
    ],
)
async def test_create(twitter: StandInTwitter, open_binding: Open, data: bytes, text: str) -> None:
    found = await call(await open_binding(), "create", data)
    assert [post["text"] for post in twitter.posts] == [text]
    assert json.loads(found.data)["id"] == twitter.posts[0]["id"]
    if b"reply_settings" in data:
        assert json.loads(twitter.asked[-1].body)["reply_settings"] == "mentionedUsers"


async def test_a_post_needs_words(twitter: StandInTwitter, open_binding: Open) -> None:
    binding = await open_binding()
    for data in (b"", b"null", b'""'):
        with pytest.raises(ValueError, match="invalid data: expected the text of a post"):
            await call(binding, "create", data)
    with pytest.raises(TwitterError, match=r"X at 127.0.0.1.*: One or more parameters is invalid"):
        await call(binding, "create", b"{}")
    assert twitter.posts == []


async def test_get(twitter: StandInTwitter, open_binding: Open) -> None:
    ids = [twitter.add(f"post {number}") for number in range(120)]
    binding = await open_binding()
    found = await call(binding, "get", query="dapr & more", since_id=ids[4])
    posts = json.loads(found.data)
    assert [post["id"] for post in posts] == ids[:-101:-1], "the newest hundred"
    assert posts[0]["author"]["username"] == "ada"
    assert found.metadata["max_tweet_id"] == ids[-1]
    assert found.metadata["tweet_count"] == "100"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found.metadata["search_ts"])
    (asked,) = twitter.searches
    assert asked["query"] == "(dapr & more) lang:en"
    assert (asked["since_id"], asked["sort_order"]) == (ids[4], "recency")
    assert "entities" in asked["tweet.fields"]


async def test_get_finds_nothing(open_binding: Open) -> None:
    found = await call(await open_binding(), "get", query="dapr")
    assert found.data == b"[]"
    assert (found.metadata["tweet_count"], found.metadata["max_tweet_id"]) == ("0", "0")


@pytest.mark.parametrize(
    ("metadata", "query", "order"),
    [
        ({"query": "a", "lang": "de", "result": "popular"}, "(a) lang:de", "relevancy"),
        ({"query": "a", "result": "mixed"}, "(a) lang:en", "relevancy"),
        ({"query": "a lang:fr", "lang": "de"}, "a lang:fr", "recency"),
    ],
)
async def test_get_in_words_of_the_service(
    twitter: StandInTwitter,
    open_binding: Open,
    metadata: dict[str, str],
    query: str,
    order: str,
) -> None:
    await call(await open_binding(), "get", b"", **metadata)
    (asked,) = twitter.searches
    assert (asked["query"], asked["sort_order"]) == (query, order)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "missing metadata 'query'"),
        ({"query": " "}, "missing metadata 'query'"),
        ({"query": "a", "result": "best"}, "'result': 'best': expected recent, mixed, popular"),
        ({"query": "a", "lang": "en OR b"}, "'lang': 'en OR b': expected a code"),
        ({"query": "a", "since_id": "x"}, "'since_id': 'x': expected the id of a post"),
    ],
)
async def test_what_get_refuses(
    twitter: StandInTwitter, open_binding: Open, metadata: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        await call(await open_binding(), "get", b"", **metadata)
    assert twitter.asked == []


async def test_a_bearer_token_reads_only(twitter: StandInTwitter, open_binding: Open) -> None:
    twitter.add("post")
    binding = await open_binding(bearerToken=BEARER)
    assert (await call(binding, "get", query="a")).metadata["tweet_count"] == "1"
    with pytest.raises(ValueError, match="posting needs the keys of a user"):
        await call(binding, "create", b"x")
    both = await open_binding(bearerToken=BEARER, **KEYS)
    await call(both, "create", b"x")
    await call(both, "get", query="a")
    assert twitter.asked[-1].headers["authorization"].startswith("Bearer ")


async def test_wrong_keys(open_binding: Open) -> None:
    binding = await open_binding(accessSecret="geheim")
    for use in (call(binding, "create", b"x"), call(binding, "get", query="a")):
        with pytest.raises(TwitterError, match="Unauthorized") as caught:
            await use
        assert "geheim" not in str(caught.value)


async def test_limits_of_operations(twitter: StandInTwitter, open_binding: Open) -> None:
    """What the service says it will not take is not sent; other things are."""
    binding = await open_binding()
    twitter.left, twitter.reset = 1, int(time.time()) + 600
    await call(binding, "get", query="a")  # the last one of this window
    for _ in range(3):
        with pytest.raises(LimitError, match=r"too many requests: the next is taken in \d+ s"):
            await call(binding, "get", query="a")
    assert len(twitter.searches) == 1
    twitter.left = None
    await call(binding, "create", b"x")


async def test_a_limit_that_nobody_told_of(twitter: StandInTwitter, open_binding: Open) -> None:
    binding = await open_binding()
    twitter.failures = [Answered(429, {"title": "Too Many Requests"})]
    for _ in range(2):
        with pytest.raises(LimitError, match="the next is taken in"):
            await call(binding, "create", b"x")
    assert len(twitter.asked) == 1


# --- events, in real time ---------------------------------------------------------------------


class App:
    """Keeps the texts of the posts it took; refuses those it is told to, so many times."""

    def __init__(self) -> None:
        self.took: list[str] = []
        self.seen: list[str] = []
        self.events: list[Event] = []
        self.refuses: dict[str, int] = {}
        self.gate: asyncio.Event | None = None

    async def __call__(self, event: Event) -> bytes | None:
        text = json.loads(event.data)["text"]
        self.seen.append(text)
        if self.gate is not None:
            await self.gate.wait()
        if self.refuses.get(text, 0) > 0:
            self.refuses[text] -= 1
            raise RuntimeError("not now")
        self.took.append(text)
        self.events.append(event)
        return None


async def test_new_posts_are_events(twitter: StandInTwitter, open_binding: Open) -> None:
    twitter.add("old")
    binding, app = await open_binding(), App()
    await binding.start(app)
    await until(lambda: twitter.searches)
    for number in range(3):
        twitter.add(f"{number}")
    await until(lambda: len(app.took) == 3)
    assert app.took == ["0", "1", "2"], "oldest first, and nothing of before"
    assert dict(app.events[0].metadata) == {"query": "dapr"}
    assert json.loads(app.events[0].data)["author"]["username"] == "ada"
    asked = len(twitter.searches)
    await until(lambda: len(twitter.searches) > asked + 2)
    assert app.took == ["0", "1", "2"], "nothing twice"


async def test_what_was_not_taken_comes_after_a_stop(
    twitter: StandInTwitter, open_binding: Open
) -> None:
    binding, app = await open_binding(), App()
    app.refuses["1"] = 1000
    await binding.start(app)
    await until(lambda: twitter.searches)
    for number in range(3):
        twitter.add(f"{number}")
    await until(lambda: app.seen[-1:] == ["1"])
    await binding.stop()
    assert app.took == ["0"]
    app.refuses.clear()
    twitter.add("3")
    await binding.start(app)
    await until(lambda: len(app.took) == 4)
    assert app.took == ["0", "1", "2", "3"]


async def test_stop_waits_for_the_app(twitter: StandInTwitter, open_binding: Open) -> None:
    binding, app = await open_binding(), App()
    app.gate = asyncio.Event()
    await binding.start(app)
    await until(lambda: twitter.searches)
    twitter.add("one")
    twitter.add("two")
    await until(lambda: app.seen)
    stopping = asyncio.ensure_future(binding.stop())
    await asyncio.wait((stopping,), timeout=0.05)
    assert not stopping.done()
    app.gate.set()
    await stopping
    assert app.took == ["one"]
    await binding.start(app)
    await until(lambda: len(app.took) == 2)
    assert app.took == ["one", "two"]


# --- events, in a time of the test's own ------------------------------------------------------


class World:
    """A feed whose pauses pass at once: ``slept`` has how long they were, ``now`` follows."""

    def __init__(self, twitter: StandInTwitter) -> None:
        self.twitter = twitter
        self.offset = 0.0
        self.slept: list[float] = []
        self.client = TwitterClient(twitter.url, Keys(*KEYS.values()), "", self.now)
        self.feed = Feed(self.client, "dapr", 60.0, self.sleep)
        self.app = App()
        self.before_sleep: list[Callable[[], object]] = []

    def now(self) -> float:
        return time.time() + self.offset

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds))
        self.offset += seconds
        if not self.before_sleep:
            self.feed.leave()
            return
        self.before_sleep.pop(0)()

    async def run(self, *steps: Callable[[], object]) -> None:
        """Run the feed; one step at each pause, and the end at the next."""
        self.before_sleep = list(steps)
        await self.feed.run(self.app)


@pytest.fixture
async def world(twitter: StandInTwitter) -> AsyncIterator[World]:
    found = World(twitter)
    yield found
    await found.client.close()


def nothing() -> None:
    """A step."""


async def test_a_refused_post_comes_again_before_others(world: World) -> None:
    world.app.refuses["1"] = 3

    def posts() -> None:
        for number in range(3):
            world.twitter.add(f"{number}")

    await world.run(posts, nothing, nothing, nothing)
    assert world.app.seen == ["0", "1", "1", "1", "1", "2"]
    assert world.app.took == ["0", "1", "2"]
    assert world.slept == [60, 1, 2, 4, 60]


async def test_a_limit_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    twitter = world.twitter
    monkeypatch.setattr(twitter, "_is_signed", lambda *_: True)  # by the clock of the test

    def last_of_the_window() -> None:
        twitter.add("one")
        twitter.left, twitter.reset = 1, int(world.now()) + 300

    def renewed() -> None:
        twitter.left = None
        twitter.add("two")

    await world.run(last_of_the_window, nothing, renewed)
    assert world.app.took == ["one", "two"]
    assert world.slept[:2] == [60, 60]
    assert 230 <= world.slept[2] <= 245, "until the reset, which was 300 s away a minute ago"
    assert len(twitter.searches) == 3, "nobody asked while it was closed"


async def test_a_limit_that_is_met(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    twitter = world.twitter
    monkeypatch.setattr(twitter, "_is_signed", lambda *_: True)
    twitter.left, twitter.reset = 0, int(world.now()) + 86_400

    def renewed() -> None:
        twitter.left = None

    await world.run(renewed, lambda: twitter.add("one"))
    assert world.slept[0] == 900, "a clock that is wrong stops it for so long and no longer"
    assert world.app.took == ["one"]


async def test_the_service_is_away(world: World) -> None:
    unwell = Answered(503, {"title": "Service Unavailable"})
    world.twitter.failures = [unwell] * 8
    steps: list[Callable[[], object]] = [nothing] * 8
    await world.run(*steps, lambda: world.twitter.add("one"))
    assert world.slept == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert world.app.took == ["one"]


async def test_an_odd_answer_ends_nothing(world: World) -> None:
    def odd() -> None:
        world.twitter.failures = [Answered(200, {"data": [{"text": "no id"}]})]

    await world.run(odd, lambda: world.twitter.add("one"))
    assert world.app.took == ["one"]


async def test_many_at_once_are_read_page_by_page(world: World) -> None:
    texts = [f"{number}" for number in range(250)]

    def posts() -> None:
        for text in texts:
            world.twitter.add(text)

    await world.run(posts)
    assert world.app.took == texts
    assert len(world.twitter.searches) == 4


async def test_more_than_are_held_come_in_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dapr_sidecar.components.bindings.twitter_feed._HELD", 100)
    texts = [f"{number}" for number in range(250)]

    def posts() -> None:
        for text in texts:
            world.twitter.add(text)

    await world.run(posts, nothing, nothing)
    assert world.app.took == texts


async def test_more_pages_than_are_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dapr_sidecar.components.bindings.twitter_feed._MOST_PAGES", 2)

    def posts() -> None:
        for number in range(250):
            world.twitter.add(f"{number}")

    await world.run(posts)
    assert world.app.took == [f"{number}" for number in range(50, 250)]


async def test_a_place_that_is_too_old_to_name(world: World) -> None:
    """The service refuses a ``since_id`` of more than seven days ago."""
    world.twitter.add("first", age_seconds=6.5 * DAY)
    await world.run(lambda: world.twitter.add("second"))
    assert world.app.took == ["second"]
    assert "since_id" not in world.twitter.searches[-1]
    await world.run(nothing)
    assert "since_id" in world.twitter.searches[-1]
    assert world.app.took == ["second"]
