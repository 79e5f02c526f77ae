"""One connection to an MQTT broker, kept open: its session is the component's.

Messages are acknowledged when they were handled. The protocol knows no "give it to me again": what
is not acknowledged comes with the next connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import aiomqtt

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.consuming.calls import within
from dapr_sidecar.components.mqtt.settings import MqttServer

_LOG = get_logger("dapr.contrib.mqtt")
_CONNECT_SECONDS = 15.0
_CALL_SECONDS = 15.0
_CLOSE_SECONDS = 3.0
_PING_SECONDS = 5.0
_NOBODYS_TOPIC = "dapr/ping"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20.0
_KEEPALIVE_SECONDS = 30
# The broker bounds what is not acknowledged by the session's window; this many wait for a
# subscription at most, the rest comes with the next connection.
_MOST_UNCLAIMED = 1000
# The library keeps what nobody acknowledged, also when its caller has given up: it must not keep
# all that is published while a broker is silent. Those who publish wait for their turn.
_PUBLISHING_AT_ONCE, _MOST_KEPT = 1000, 2000


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
        self._shown = f"the MQTT broker at {server.host}:{server.port}"
        self._turns = asyncio.Semaphore(_PUBLISHING_AT_ONCE)
        self._client_id = client_id
        self._clean_session = clean_session
        self._client: aiomqtt.Client | None = None
        self._up = asyncio.Event()
        self._listeners: list[Listener] = []
        self._unclaimed: list[Arrived] = []
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect for the first time. Raises ``ConnectionError``."""
        client = self._new_client()
        try:
            await self._enter(client)
        except (aiomqtt.MqttError, OSError) as error:
            raise self._failure(error) from error
        self._task = asyncio.get_running_loop().create_task(self._run(client))

    async def close(self) -> None:
        """End the connection; safe to call twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        """Returns when the broker has it (qos 1 and 2). Raises ``ConnectionError``, also past the
        deadline.
        """
        async with within(_CALL_SECONDS, f"{self._shown} did not take the message"), self._turns:
            client = await self._connected()
            try:
                await client.publish(topic, payload, qos=qos, retain=retain, timeout=math.inf)
            except aiomqtt.MqttError as error:
                raise self._failure(error) from error

    def _failure(self, error: Exception) -> ConnectionError:
        return ConnectionError(f"{self._shown}: {error}")

    async def ping(self) -> None:
        """Raises when the broker does not answer."""
        if not self._up.is_set() or self._client is None:
            raise ConnectionError(f"there is no connection to {self._shown}")
        async with within(_PING_SECONDS, f"{self._shown} did not answer"):
            try:
                # The one question that changes nothing and has to be answered.
                await self._client.unsubscribe(_NOBODYS_TOPIC, timeout=math.inf)
            except aiomqtt.MqttError as error:
                raise self._failure(error) from error

    async def add(self, listener: Listener) -> None:
        """Subscribe; messages that came before belong to it, too. Raises ``ConnectionError``."""
        self._listeners.append(listener)
        try:
            async with within(_CALL_SECONDS, f"{self._shown} did not take the subscription"):
                client = await self._connected()
                await client.subscribe(listener.topic_filter, qos=listener.qos, timeout=math.inf)
        except aiomqtt.MqttError as error:
            self._listeners.remove(listener)
            raise self._failure(error) from error
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
                await self._client.unsubscribe(listener.topic_filter, timeout=_CLOSE_SECONDS)

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
            timeout=math.inf,  # whoever calls has a deadline
            keepalive=_KEEPALIVE_SECONDS,
            max_queued_outgoing_messages=_MOST_KEPT,
        )
        client._client.manual_ack_set(True)  # noqa: SLF001 - aiomqtt has no word for it
        return client

    async def _connected(self) -> aiomqtt.Client:
        await self._up.wait()
        assert self._client is not None
        return self._client

    async def _run(self, client: aiomqtt.Client) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._serve(client)
            except Exception as error:  # noqa: BLE001 - a subscription never ends by itself
                _LOG.warning("the connection to %s ended: %s", self._shown, error)
            finally:
                self._forget()
                await _leave(client)
            while True:
                await asyncio.sleep(pause)
                client = self._new_client()
                try:
                    await self._enter(client)
                except Exception as error:  # noqa: BLE001 - as above
                    _LOG.warning("no connection to %s: %s", self._shown, error)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                else:
                    pause = _FIRST_PAUSE
                    break

    async def _enter(self, client: aiomqtt.Client) -> None:
        """Connect. A client that does not get through leaves nothing behind: connected late, it
        would take the session from its successor.
        """
        try:
            async with within(_CONNECT_SECONDS, f"{self._shown} did not answer"):
                await client.__aenter__()
        except BaseException:
            _cut(client)
            raise

    async def _serve(self, client: aiomqtt.Client) -> None:
        self._client = client
        for listener in list(self._listeners):  # others come and go meanwhile
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


async def _leave(client: aiomqtt.Client) -> None:
    """Say good-bye, for a few seconds at most, and close the connection."""
    try:
        with contextlib.suppress(Exception):  # it may be gone already
            async with asyncio.timeout(_CLOSE_SECONDS):
                await client.__aexit__(None, None, None)
    finally:
        _cut(client)


def _cut(client: aiomqtt.Client) -> None:
    """Close the socket, if there is one: the library leaves it open when a peer is silent."""
    client._client._sock_close()  # noqa: SLF001 - aiomqtt has no word for it
