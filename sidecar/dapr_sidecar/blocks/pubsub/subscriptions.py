"""All subscriptions of this sidecar: gathered, started and stopped with the app, listed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from dapr_common.kube.resources import Subscription
from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.pubsub.programmatic import discover
from dapr_sidecar.blocks.pubsub.publish import PubSubBlock
from dapr_sidecar.blocks.pubsub.subscriber import Kind, Subscriber
from dapr_sidecar.blocks.pubsub.verdict import Sender

_LOG = get_logger("dapr.runtime.pubsub.subscription")
_START_SECONDS = 5.0
_DRAIN_SECONDS = 30.0


class ClosedError(Exception):
    """The sidecar is stopping and takes no new subscriptions."""

    def __init__(self) -> None:
        super().__init__("subscriptions are closed")


class SubscriptionSet:
    """Declarative, programmatic and streaming subscriptions.

    ``start`` and ``stop`` follow the app's health; ``drain`` ends everything for good. Streams are
    the clients' own: they do not depend on the app channel and live until ``drain``.
    """

    def __init__(
        self,
        block: PubSubBlock,
        declarative: Sequence[Subscription] = (),
        *,
        ask_app: bool = True,
    ) -> None:
        """``ask_app=False``: ``--disable-init-endpoints subscribe``."""
        self._block = block
        self._declarative = tuple(declarative)
        self._programmatic: tuple[Subscription, ...] | None = None if ask_app else ()
        self._app: dict[tuple[str, str], Subscriber] = {}
        self._streams: list[Subscriber] = []
        self._running = False
        self._closed = False
        self._turn = asyncio.Lock()
        self.ended = asyncio.Event()
        """Set when ``drain`` is over: streams end then."""

    async def start(self) -> None:
        """Begin deliveries to the app; asks it for its own subscriptions the first time."""
        async with self._turn:
            if self._closed:
                return
            self._running = True
            await self._discover()
            await self._reconcile()

    async def stop(self) -> None:
        """Hold deliveries to the app: running ones finish, the rest stays at the brokers."""
        async with self._turn:
            self._running = False
            await self._reconcile()

    async def drain(self) -> None:
        """Stop everything for good; deliveries that run may finish."""
        self._closed = True
        try:
            async with self._turn:
                self._running = False
                streams, self._streams = self._streams, []
                apps, self._app = list(self._app.values()), {}
                await _close(apps + streams)
        finally:
            self.ended.set()

    async def component_changed(self, name: str) -> None:
        """A pubsub component came, changed or went: its subscriptions start anew."""
        async with self._turn:
            if self._closed:
                return
            await _close([s for key, s in self._app.items() if key[0] == name])
            self._app = {key: s for key, s in self._app.items() if key[0] != name}
            if self._running:
                await self._discover()
                await self._reconcile()
            for stream in [s for s in self._streams if s.subscription.pubsub_name == name]:
                await _close([stream])
                if stream in self._streams:  # its client may have left meanwhile
                    await _start([stream])

    async def set_declarative(self, subscriptions: Sequence[Subscription]) -> None:
        """Take another list of declared subscriptions; unchanged ones go on untouched."""
        async with self._turn:
            self._declarative = tuple(subscriptions)
            await self._reconcile()

    def listing(self) -> list[tuple[Subscription, str]]:
        """What the metadata API shows: each subscription and where it comes from."""
        listed: list[tuple[Subscription, str]] = list(self._wanted().values())
        listed += [(stream.subscription, stream.kind) for stream in self._streams]
        return listed

    async def add_stream(self, subscription: Subscription, sender: Sender) -> Subscriber:
        """Subscribe for a client's stream. Raises what the broker or the scopes say."""
        if self._closed:
            raise ClosedError
        stream = Subscriber(self._block, subscription, "STREAMING", sender)
        live, name = self._block.context.components.pubsub, subscription.pubsub_name
        loaded = live.get(name)
        await stream.open()
        while live.get(name) is not loaded:  # the component was swapped meanwhile
            await stream.close()
            loaded = live.get(name)
            await stream.open()
        self._streams.append(stream)
        return stream

    async def remove_stream(self, stream: Subscriber) -> None:
        """The client's stream ended."""
        if stream in self._streams:
            self._streams.remove(stream)
        await stream.close()

    async def _discover(self) -> None:
        context = self._block.context
        if self._programmatic is None and context.channel and context.components.pubsub:
            self._programmatic = tuple(await discover(context))

    def _wanted(self) -> dict[tuple[str, str], tuple[Subscription, Kind]]:
        wanted: dict[tuple[str, str], tuple[Subscription, Kind]] = {}
        for subscription in self._declarative:
            key = (subscription.pubsub_name, subscription.topic)
            wanted.setdefault(key, (subscription, "DECLARATIVE"))
        own: dict[tuple[str, str], tuple[Subscription, Kind]] = {}
        for subscription in self._programmatic or ():
            key = (subscription.pubsub_name, subscription.topic)
            own.setdefault(key, (subscription, "PROGRAMMATIC"))
        return wanted | own

    async def _reconcile(self) -> None:
        wanted = self._wanted() if self._running else {}
        gone = [
            key
            for key, subscriber in self._app.items()
            if key not in wanted or wanted[key] != (subscriber.subscription, subscriber.kind)
        ]
        await _close([self._app.pop(key) for key in gone])
        new = {key: Subscriber(self._block, *wanted[key]) for key in wanted if key not in self._app}
        self._app.update(new)
        await _start(new.values())


async def _start(subscribers: Iterable[Subscriber]) -> None:
    """Try each once, side by side; a broker that hangs holds nobody up for long."""
    starting = [asyncio.ensure_future(subscriber.start()) for subscriber in subscribers]
    if starting:
        _, late = await asyncio.wait(starting, timeout=_START_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)


async def _close(subscribers: Iterable[Subscriber]) -> None:
    closing = [asyncio.ensure_future(subscriber.close()) for subscriber in subscribers]
    if closing:
        _, late = await asyncio.wait(closing, timeout=_DRAIN_SECONDS)
        for task in late:
            task.cancel()
        for outcome in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(outcome, Exception):
                _LOG.warning("a subscription did not close cleanly: %s", outcome)
