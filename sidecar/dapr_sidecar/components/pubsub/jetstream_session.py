"""A push consumer of JetStream: what it delivers, and whether the server still knows it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from nats.aio.msg import Msg
from nats.errors import Error
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo
from nats.js.errors import NotFoundError

from dapr_sidecar.components.consuming.receiver import Delivery
from dapr_sidecar.components.pubsub.base import Message

IN_FLIGHT = 1000
"""What a server lets a consumer hold when nobody says otherwise."""
_SERVER_ACK_WAIT = 30.0
_LOOK_SECONDS = 15.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_SETTLE_SECONDS = 5.0


class JetStreamSession:
    """Held messages are kept from counting as abandoned; what is left at the end is given back."""

    def __init__(
        self,
        stream: JetStreamContext,
        stream_name: str,
        config: ConsumerConfig,
        pause: float | None,
        put: Callable[[Delivery[Message]], None],
        room: Callable[[], Awaitable[int]],
    ) -> None:
        """``pause``: seconds before a failed message comes again; ``None``: it grows."""
        self._stream = stream
        self._stream_name = stream_name
        self._wanted = config
        self._acknowledges = config.ack_policy is not AckPolicy.NONE
        self._pause = pause
        self._put = put
        self._room = room
        self._held: dict[str, Msg] = {}
        self._subscription: JetStreamContext.PushSubscription | None = None
        self._known: ConsumerInfo | None = None
        self._look = asyncio.Event()
        self._listeners: set[Callable[[], None]] = set()

    async def open(self) -> None:
        """Create the consumer or join it, and listen. Raises what the server says."""
        known = await self._found() or await self._created()
        self._known = known
        self._subscription = await self._stream.subscribe_bind(
            self._stream_name, known.config, known.name, cb=self._take, manual_ack=True
        )

    async def _found(self) -> ConsumerInfo | None:
        """The durable consumer, when others made it: members of its group share its subject."""
        wanted = self._wanted
        if not wanted.durable_name:
            return None
        try:
            known = await self._stream._jsm.consumer_info(self._stream_name, wanted.durable_name)  # noqa: SLF001
        except NotFoundError:
            return None
        joins = known.config.deliver_group and known.config.deliver_group == wanted.deliver_group
        return known if joins and known.config.deliver_subject else None

    async def _created(self) -> ConsumerInfo:
        self._wanted.deliver_subject = self._stream._nc.new_inbox()  # noqa: SLF001
        return await self._stream._jsm.add_consumer(self._stream_name, self._wanted)  # noqa: SLF001

    def watch(self, listeners: set[Callable[[], None]]) -> None:
        """Look at the consumer when the connection was lost and is there again."""
        self._listeners = listeners
        listeners.add(self._look.set)

    # --- messages ---------------------------------------------------------------------------

    async def _take(self, raw: Msg) -> None:
        # A control message of the server has no place in the stream, and no reply to settle.
        if not raw.reply.startswith("$JS.ACK."):
            return
        if not self._acknowledges:
            await self._room()  # no window of the server's bounds what is held here
        self._held[raw.reply] = raw

        async def accept() -> None:
            self._held.pop(raw.reply, None)
            if self._acknowledges:
                await raw.ack()

        async def refuse() -> None:
            self._held.pop(raw.reply, None)
            if self._acknowledges:
                await raw.nak(delay=self._delay(raw))

        message = Message(raw.subject, raw.data, {"Topic": raw.subject})
        self._put(Delivery(message, accept, refuse))

    def _delay(self, raw: Msg) -> float | None:
        if self._pause is not None:
            return self._pause
        attempts = int(raw.metadata.num_delivered)
        if attempts <= 1:
            return None
        return float(min(_FIRST_PAUSE * 2 ** min(attempts - 2, 16), _LONGEST_PAUSE))

    # --- the session ------------------------------------------------------------------------

    async def ended(self) -> None:
        """Raises when the server forgot the consumer, or delivers elsewhere."""
        wait = self._wanted.ack_wait or _SERVER_ACK_WAIT
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait / 3, _LOOK_SECONDS)):
                    await self._look.wait()
                    looked = 0.0
            self._look.clear()
            with contextlib.suppress(Error, TimeoutError):
                await self._say_in_progress()
            if loop.time() - looked >= _LOOK_SECONDS:
                looked = loop.time()
                await self._check()

    async def _say_in_progress(self) -> None:
        if self._acknowledges:
            for raw in list(self._held.values()):
                await raw.in_progress()

    async def _check(self) -> None:
        assert self._known is not None
        try:
            now = await self._stream._jsm.consumer_info(self._stream_name, self._known.name)  # noqa: SLF001
        except NotFoundError:
            raise ConnectionError("the server knows the consumer no more") from None
        except (Error, TimeoutError):
            return  # not now; the connection is being made again
        if now.config.deliver_subject != self._known.config.deliver_subject:
            raise ConnectionError("the consumer was given another subject to deliver to")

    async def stop(self) -> None:
        if self._subscription is not None:
            await self._subscription.unsubscribe()

    async def close(self) -> None:
        """Hand what was not handled back at once, instead of when ``ackWait`` is over."""
        self._listeners.discard(self._look.set)
        with contextlib.suppress(Exception):  # unsubscribed already, or no connection
            await self.stop()
        held, self._held = list(self._held.values()), {}
        if not self._acknowledges:
            return
        with contextlib.suppress(Error, TimeoutError, OSError):
            async with asyncio.timeout(_SETTLE_SECONDS):
                for raw in held:
                    await raw.nak()
                await self._stream._nc.flush()  # noqa: SLF001
