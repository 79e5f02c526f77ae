"""A subscription of Google Cloud Pub/Sub as a consumer's session."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.consuming.calls import first_ended
from dapr_sidecar.components.consuming.receiver import Delivery
from dapr_sidecar.components.pubsub.acks import AckBuffer
from dapr_sidecar.components.pubsub.base import Message
from dapr_sidecar.components.pubsub.gcp_client import PubSubClient, PubSubError
from dapr_sidecar.components.web import WebError

_LOG = get_logger("dapr.contrib.pubsub.gcp")
_MOST = 100
_MOST_IDS = 1000
"""In one request, which the service wants below half a megabyte."""
_PAUSE, _SHORT = 1.0, 0.1


class GcpSession:
    """Deadlines of what is held here are moved on; the rest is given back at the end."""

    def __init__(
        self,
        client: PubSubClient,
        subscription: str,
        topic: str,
        deadline: int,
        put: Callable[[Delivery[Message]], None],
        room: Callable[[], Awaitable[int]],
    ) -> None:
        """``subscription`` is the full name; ``deadline`` is in seconds."""
        self._client = client
        self._subscription = subscription
        self._topic = topic
        self._deadline = deadline
        self._put = put
        self._room = room
        self._held: set[str] = set()
        self._acks: AckBuffer[str] = AckBuffer(self._acknowledge)
        self._refused: AckBuffer[str] = AckBuffer(self._give_back)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to ask for messages."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._read()), loop.create_task(self._renew())]

    async def ended(self) -> None:
        # Asking goes on whatever the service answers: what ends it is an answer that is none.
        await first_ended(self._tasks)

    async def stop(self) -> None:
        self._tasks[0].cancel()
        await asyncio.wait(self._tasks[:1])

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await asyncio.gather(self._acks.close(), self._refused.close())
        held, self._held = list(self._held), set()
        with contextlib.suppress(PubSubError, WebError):  # they come when their time is over
            await self._extend(held, 0)

    async def _read(self) -> None:
        while True:
            room = max(min(await self._room(), _MOST), 1)
            try:
                found = await self._client.call(f"{self._subscription}:pull", {"maxMessages": room})
            except (PubSubError, WebError, ConnectionError) as error:
                _LOG.warning("reading %s failed: %s", self._subscription, error)
                await asyncio.sleep(_PAUSE)
                continue
            received = found.get("receivedMessages") or ()
            for one in received:
                self._take(one)
            if not received:
                await asyncio.sleep(_SHORT)  # the service answers without messages when it likes

    def _take(self, received: Mapping[str, Any]) -> None:
        ack_id = str(received["ackId"])
        raw = received.get("message") or {}
        self._held.add(ack_id)

        async def accept() -> None:
            self._held.discard(ack_id)
            self._acks.add(ack_id)

        async def refuse() -> None:
            self._held.discard(ack_id)
            self._refused.add(ack_id)

        data = base64.b64decode(raw.get("data", ""))
        message = Message(self._topic, data, dict(raw.get("attributes") or {}))
        self._put(Delivery(message, accept, refuse))

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._deadline / 3)
            try:
                await self._extend(list(self._held), self._deadline)
            except (PubSubError, WebError, ConnectionError) as error:
                _LOG.warning("deadlines of %s were not moved: %s", self._subscription, error)

    async def _acknowledge(self, ack_ids: Sequence[str]) -> None:
        for at in range(0, len(ack_ids), _MOST_IDS):
            words = {"ackIds": list(ack_ids[at : at + _MOST_IDS])}
            await self._client.call(f"{self._subscription}:acknowledge", words)

    async def _give_back(self, ack_ids: Sequence[str]) -> None:
        await self._extend(list(ack_ids), 0)

    async def _extend(self, ack_ids: list[str], seconds: int) -> None:
        for at in range(0, len(ack_ids), _MOST_IDS):
            words = {"ackIds": ack_ids[at : at + _MOST_IDS], "ackDeadlineSeconds": seconds}
            await self._client.call(f"{self._subscription}:modifyAckDeadline", words)
