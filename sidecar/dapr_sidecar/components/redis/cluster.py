"""A Redis cluster: each command goes to the node that has its key, and follows when it moves."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.redis.client import RedisClient, Script
from dapr_sidecar.components.redis.connection import (
    Argument,
    RedisConnectionError,
    RedisError,
)
from dapr_sidecar.components.redis.settings import RedisSettings
from dapr_sidecar.components.redis.slots import (
    Address,
    key_of,
    read_redirect,
    read_slots,
    slot_of,
)

_LOG = get_logger("dapr.contrib.redis")
_REDIRECTS = 5
_LATER = ("TRYAGAIN", "CLUSTERDOWN")
_PAUSE_SECONDS = 0.1

Work = Callable[[RedisClient], Awaitable[Any]]


def redis_client(settings: RedisSettings) -> RedisClient | ClusterClient:
    """The client that ``redisType`` asks for. Raises ``SettingsError``."""
    word = settings.type.strip().lower()
    if word not in ("", "node", "cluster"):
        raise SettingsError(
            f"invalid metadata field 'redisType': '{settings.type}': expected node or cluster"
        )
    return ClusterClient(settings) if word == "cluster" else RedisClient(settings)


class ClusterClient:
    """Commands by key. ``redisHost`` names some of the nodes, with commas.

    The map of slots is fetched when something shows that it is old: a redirection, or a node that
    cannot be reached. A transaction over keys of several slots is one transaction for each.
    """

    def __init__(self, settings: RedisSettings) -> None:
        if settings.failover:
            raise SettingsError(
                "invalid metadata field 'failover': a cluster needs no sentinels: "
                "set it to false, or redisType to node"
            )
        if settings.database:
            raise SettingsError(
                f"invalid metadata field 'redisDB': '{settings.database}': a cluster has 0 only"
            )
        self._settings = dataclasses.replace(settings, type="node")
        self._seeds = [
            dataclasses.replace(self._settings, host=one.strip()).address()
            for one in settings.host.split(",")
            if one.strip()
        ]
        self._nodes: dict[Address, RedisClient] = {}
        self._slots: list[Address | None] = []
        self._learning: asyncio.Task[None] | None = None
        self._closed = False

    # --- life -------------------------------------------------------------------------------

    async def open(self) -> None:
        """Find the nodes. Raises ``RedisConnectionError`` or ``RedisError``."""
        await self._learn()

    async def close(self) -> None:
        """Disconnect from every node."""
        self._closed = True
        if self._learning is not None:
            self._learning.cancel()
            await asyncio.gather(self._learning, return_exceptions=True)
        nodes, self._nodes = list(self._nodes.values()), {}
        await asyncio.gather(*(node.close() for node in nodes))

    async def ping(self) -> None:
        """Raise when a node that has slots does not answer."""
        addresses = {address for address in self._slots if address is not None}
        await asyncio.gather(*(self._node(address).ping() for address in addresses))

    # --- commands ---------------------------------------------------------------------------

    async def command(self, *arguments: Argument) -> Any:
        """Run one command. Raises ``RedisError`` or ``RedisConnectionError``."""

        async def run(node: RedisClient) -> Any:
            return await node.command(*arguments)

        return await self._at(key_of(arguments), run, arguments)

    async def run(
        self, script: Script, keys: Sequence[Argument], arguments: Sequence[Argument]
    ) -> Any:
        """Run a script; its keys must be of one slot."""
        whole = ("EVAL", script.text, len(keys), *keys, *arguments)
        return await self._at(keys[0], lambda node: node.run(script, keys, arguments), whole)

    async def transaction(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """MULTI/EXEC, for each slot its own; results in the order of the commands."""
        by_slot: dict[int, list[int]] = {}
        for index, command in enumerate(commands):
            by_slot.setdefault(slot_of(key_of(command)), []).append(index)
        results: list[Any] = [None] * len(commands)
        for indexes in by_slot.values():
            part = [commands[index] for index in indexes]

            async def run(node: RedisClient, part: Sequence[Any] = part) -> Any:
                return await node.transaction(part)

            answers = await self._at(key_of(part[0]), run, None)
            for index, answer in zip(indexes, answers, strict=True):
                results[index] = answer
        return results

    async def wait_for_replicas(self, key: str, replicas: int, milliseconds: int) -> None:
        """Wait until replicas of the key's node have what was written to it."""
        address = self._slots[slot_of(key)] if self._slots else None
        if address is not None:
            await self._node(address).wait_for_replicas(key, replicas, milliseconds)

    # --- nodes ------------------------------------------------------------------------------

    async def _at(self, key: Any, work: Work, again: Sequence[Argument] | None) -> Any:
        """Do the work at the key's node, or where that one says. ``again``: the same, whole."""
        address = self._address(key)
        for _ in range(_REDIRECTS):
            try:
                return await work(self._node(address))
            except RedisConnectionError:
                self._learn_soon()
                raise
            except RedisError as error:
                if str(error).startswith(_LATER):
                    await asyncio.sleep(_PAUSE_SECONDS)
                    await self._learn()
                    address = self._address(key)
                    continue
                redirect = read_redirect(str(error), address)
                if redirect is None:
                    raise
                if redirect.ask and again is not None:
                    return await self._ask(redirect.address, again)
                self._learn_soon()
                address = redirect.address
        raise RedisError(f"the redis cluster redirects key {key!r} again and again")

    async def _ask(self, address: Address, command: Sequence[Argument]) -> Any:
        """Run a command at the node that its slot is moving to."""
        _, answer = await self._node(address).pipeline([("ASKING",), command])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _address(self, key: Any) -> Address:
        if key is None or not self._slots:
            return next((one for one in self._slots if one is not None), self._seeds[0])
        slot = slot_of(key)
        if (address := self._slots[slot]) is None:
            raise RedisError(f"no node of the redis cluster has slot {slot}")
        return address

    def _node(self, address: Address) -> RedisClient:
        if self._closed:
            raise RedisConnectionError("redis client is closed")
        node = self._nodes.get(address)
        if node is None:
            host, port = address
            shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            node = RedisClient(dataclasses.replace(self._settings, host=shown))
            self._nodes[address] = node
        return node

    # --- the map ----------------------------------------------------------------------------

    def _learn_soon(self) -> None:
        if not self._closed and self._learning is None:
            self._learning = asyncio.get_running_loop().create_task(self._learn_quietly())

    async def _learn_quietly(self) -> None:
        try:
            await self._learn()
        except (RedisError, RedisConnectionError) as error:
            _LOG.warning("the nodes of the redis cluster are not known: %s", error)
        finally:
            self._learning = None

    async def _learn(self) -> None:
        """Ask one node after the other for the map. Raises what the last one answered."""
        known = {address for address in self._slots if address is not None}
        candidates = dict.fromkeys([*known, *self._seeds])
        failure: Exception = RedisConnectionError("redisHost names no node")
        for address in candidates:
            try:
                reply = await self._node(address).command("CLUSTER", "SLOTS")
            except (RedisError, RedisConnectionError) as error:
                failure = error
                continue
            slots = read_slots(reply, address)
            if any(slots):
                await self._use(slots)
                return
            failure = RedisError(f"redis at {address[0]}:{address[1]} has no slots of a cluster")
        raise failure

    async def _use(self, slots: list[Address | None]) -> None:
        """Take a new map, and let go of nodes that are no longer in it."""
        self._slots = slots
        kept = {address for address in slots if address is not None} | set(self._seeds)
        gone = [address for address in self._nodes if address not in kept]
        for address in gone:
            await self._nodes.pop(address).close()
