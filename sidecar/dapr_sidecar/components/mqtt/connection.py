"""One connection to an MQTT broker, kept open: its session is the component's.

Messages are acknowledged when they were handled. The protocol knows no "give it to me again": what
is not acknowledged comes with the next connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import aiomqtt

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.mqtt.settings import MqttServer

_LOG = get_logger("dapr.contrib.mqtt")
_CONNECT_SECONDS = 15.0
_CALL_SECONDS = 15.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20.0
_KEEPALIVE_SECONDS = 30
# The broker bounds what is not acknowledged by the session's window; this many wait for a
# subscription at most, the rest comes with the next connection.
_MOST_UNCLAIMED = 1000


@dataclass(slots=True, eq=False)
class Arrived:
    """One message, not acknowledged yet."""

    topic: str
    payload: bytes
    qos: int
    mid: int
    client: aiomqtt.Client

    def acknowledge(self) -> None:
        """It is done with. Says nothing when its connection is gone: it comes again."""
        self.client._client.ack(self.mid, self.qos)  # noqa: SLF001 - aiomqtt has no word for it


@dataclass(slots=True, eq=False)
class Listener:
    """Who takes the messages of a topic filter."""

    topic_filter: str
    qos: int
    take: Callable[[Arrived], None]
    lost: Callable[[], None]
    """The connection is gone; what was not acknowledged comes again."""

    def matches(self, topic: str) -> bool:
        """Whether a message of the topic is for this one."""
        bare = self.topic_filter
        if bare.startswith("$share/"):
            bare = bare.split("/", 2)[-1]
        return aiomqtt.Topic(topic).matches(bare)


class MqttConnection:
    """Publishes and subscribes; connects again, and subscribes again, when it was lost."""

    def __init__(self, server: MqttServer, client_id: str, *, clean_session: bool) -> None:
        self._server = server
        self._client_id = client_id
        self._clean_session = clean_session
        self._client: aiomqtt.Client | None = None
        self._up = asyncio.Event()
        self._listeners: list[Listener] = []
        self._unclaimed: list[Arrived] = []
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect for the first time. Raises ``MqttError`` or ``TimeoutError``."""
        client = self._new_client()
        await _enter(client)
        self._task = asyncio.get_running_loop().create_task(self._run(client))

    async def close(self) -> None:
        """End the connection; safe to call twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        """Returns when the broker has it (qos 1 and 2). Raises ``MqttError``."""
        client = await self._connected()
        await client.publish(topic, payload, qos=qos, retain=retain, timeout=_CALL_SECONDS)

    async def ping(self) -> None:
        """Raises when there is no connection."""
        if not self._up.is_set():
            raise ConnectionError("there is no connection to the MQTT broker")

    async def add(self, listener: Listener) -> None:
        """Subscribe; messages that came before belong to it, too. Raises ``MqttError``."""
        self._listeners.append(listener)
        try:
            client = await self._connected()
            await client.subscribe(listener.topic_filter, qos=listener.qos, timeout=_CALL_SECONDS)
        except BaseException:
            self._listeners.remove(listener)
            raise
        waiting, self._unclaimed = self._unclaimed, []
        for arrived in waiting:
            self._dispatch(arrived)

    async def remove(self, listener: Listener, *, unsubscribe: bool) -> None:
        """No more messages for it. The session stays subscribed unless told otherwise."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            if unsubscribe and self._client is not None:
                await self._client.unsubscribe(listener.topic_filter, timeout=_CALL_SECONDS)

    def give_back(self, arrived: Arrived) -> None:
        """It was not handled: the next subscription to its topic gets it."""
        if arrived.client is self._client and len(self._unclaimed) < _MOST_UNCLAIMED:
            self._unclaimed.append(arrived)

    # --- the connection ---------------------------------------------------------------------

    def _new_client(self) -> aiomqtt.Client:
        server = self._server
        client = aiomqtt.Client(
            server.host,
            server.port,
            username=server.username,
            password=server.password,
            identifier=self._client_id,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=self._clean_session,
            transport=server.transport,
            websocket_path=server.path if server.transport == "websockets" else None,
            tls_context=server.tls,
            timeout=_CONNECT_SECONDS,
            keepalive=_KEEPALIVE_SECONDS,
        )
        client._client.manual_ack_set(True)  # noqa: SLF001 - aiomqtt has no word for it
        return client

    async def _connected(self) -> aiomqtt.Client:
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._up.wait()
        except TimeoutError:
            raise ConnectionError("there is no connection to the MQTT broker") from None
        assert self._client is not None
        return self._client

    async def _run(self, client: aiomqtt.Client) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._serve(client)
            except aiomqtt.MqttError as error:
                _LOG.warning("the connection to the MQTT broker ended: %s", error)
            finally:
                self._forget()
                with contextlib.suppress(Exception):  # it is gone already
                    async with asyncio.timeout(_CALL_SECONDS):
                        await client.__aexit__(None, None, None)
            while True:
                await asyncio.sleep(pause)
                client = self._new_client()
                try:
                    await _enter(client)
                except (aiomqtt.MqttError, TimeoutError, OSError) as error:
                    _LOG.warning("no connection to the MQTT broker: %s", error)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                else:
                    pause = _FIRST_PAUSE
                    break

    async def _serve(self, client: aiomqtt.Client) -> None:
        self._client = client
        for listener in self._listeners:
            await client.subscribe(listener.topic_filter, qos=listener.qos, timeout=_CALL_SECONDS)
        self._up.set()
        async for message in client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            topic = message.topic.value
            self._dispatch(Arrived(topic, payload, message.qos, message.mid, client))

    def _dispatch(self, arrived: Arrived) -> None:
        for listener in self._listeners:
            if listener.matches(arrived.topic):
                listener.take(arrived)
                return
        self.give_back(arrived)

    def _forget(self) -> None:
        self._up.clear()
        self._client = None
        self._unclaimed.clear()
        for listener in self._listeners:
            listener.lost()


async def _enter(client: aiomqtt.Client) -> None:
    async with asyncio.timeout(_CONNECT_SECONDS):
        await client.__aenter__()
