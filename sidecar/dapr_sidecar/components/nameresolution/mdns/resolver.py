"""The resolver: announces this sidecar, answers questions about it, and finds others."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
from dataclasses import dataclass
from typing import Any

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.nameresolution.base import Instance, Resolver
from dapr_sidecar.components.nameresolution.mdns import dns, records
from dapr_sidecar.components.nameresolution.mdns.cache import AddressCache
from dapr_sidecar.components.nameresolution.mdns.sockets import Link, open_links

_LOG = get_logger("dapr.contrib")
_BROWSE_SECONDS = 1.0
_ASK_AGAIN_SECONDS = 0.3
_REFRESH_SECONDS, _COLLECT_SECONDS = 30.0, 3.0
_PROBES, _PROBE_SECONDS = 2, 0.25
_ANNOUNCEMENT_SECONDS = 1.0
_LOOKUP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class MdnsSettings:
    """This resolver has no settings."""


class MdnsResolver(Resolver):
    """Namespaces are not part of names here: an app id is looked up in the whole network."""

    settings = MdnsSettings

    def __init__(self, settings: MdnsSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._links: list[Link] = []
        self._cache = AddressCache()
        self._browsing: dict[str, asyncio.Future[None]] = {}
        self._own: records.Announcement | None = None
        self._announcing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Join the multicast groups; a machine without a network still finds what it announces."""
        if self._links:
            return
        self._links = await open_links(self._received)
        if not self._links:
            _LOG.warning("mdns: no network interface carries multicast; no sidecar will be found")
        self._spawn(self._refresh_forever())

    async def register(self, instance: Instance) -> None:
        """Announce this sidecar from now on."""
        hostname = socket.gethostname()
        address = await _numeric(instance.host_address)
        self._own = records.announcement(instance.app_id, hostname, address, instance.internal_port)
        dns.labels_of(self._own.instance)  # a name that is too long is told at the start
        self._announcing = self._spawn(self._announce(self._own))

    async def withdraw(self) -> None:
        """Say goodbye."""
        if self._announcing is not None:
            self._announcing.cancel()
        if self._own is not None:
            self._send(self._own.goodbye())
            self._own = None

    async def resolve(self, app_id: str, namespace: str, port: int) -> str:
        """An address of the app, from the cache or by asking for up to a second."""
        if found := self._cache.pick(app_id):
            return found
        await self._browse(app_id)
        if found := self._cache.pick(app_id):
            return found
        raise LookupError(f"couldn't find service: {app_id}")

    def forget(self, app_id: str, namespace: str, address: str) -> None:
        self._cache.forget(app_id, address)

    async def close(self) -> None:
        """Leave the groups."""
        await self.withdraw()
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for waiting in self._browsing.values():  # those whose question was never sent
            if not waiting.done():
                waiting.set_result(None)
        self._browsing.clear()
        links, self._links = self._links, []
        for link in links:
            link.close()

    # --- asking -----------------------------------------------------------------------------

    async def _browse(self, app_id: str) -> None:
        """Ask for an app; callers that come meanwhile wait for the same answer."""
        waiting = self._browsing.get(app_id)
        if waiting is None:
            waiting = asyncio.get_running_loop().create_future()
            self._browsing[app_id] = waiting
            self._spawn(self._ask(app_id, waiting))
        await asyncio.shield(waiting)

    async def _ask(self, app_id: str, found: asyncio.Future[None]) -> None:
        try:
            async with asyncio.timeout(_BROWSE_SECONDS):
                self._query(app_id)
                await asyncio.wait([found], timeout=_ASK_AGAIN_SECONDS)
                if not found.done():
                    self._query(app_id)
                await asyncio.shield(found)
            # Other instances may take longer to answer: they join the rotation when they do.
            self._query(app_id)
        except TimeoutError:
            pass
        finally:
            self._browsing.pop(app_id, None)
            if not found.done():
                found.set_result(None)

    def _query(self, app_id: str) -> None:
        try:
            question = dns.Question(records.service_name(app_id))
            self._send(dns.Message(questions=[question]))
        except dns.MessageError as error:
            _LOG.debug("mdns: %s", error)

    async def _refresh_forever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_REFRESH_SECONDS - _COLLECT_SECONDS)
            for app_id in self._cache.app_ids:
                self._query(app_id)
            await asyncio.sleep(_COLLECT_SECONDS)
            self._cache.evict(loop.time())

    # --- announcing -------------------------------------------------------------------------

    async def _announce(self, own: records.Announcement) -> None:
        for _ in range(_PROBES):
            await asyncio.sleep(random.random() * _PROBE_SECONDS)  # noqa: S311 - spreads packets
            self._send(own.probe())
        self._send(own.unsolicited())
        await asyncio.sleep(_ANNOUNCEMENT_SECONDS)
        self._send(own.unsolicited())

    # --- packets ----------------------------------------------------------------------------

    def _received(self, data: bytes, sender: tuple[Any, ...], link: Link) -> None:
        try:
            message = dns.parse(data)
        except dns.MessageError as error:
            _LOG.debug("mdns: a packet of %s cannot be read: %s", sender[0], error)
            return
        if message.is_response:
            self._learn(message)
        elif self._own is not None:
            for answer, alone in self._own.answer(message):
                link.send(dns.build(answer), sender if alone else None)

    def _learn(self, message: dns.Message) -> None:
        now = asyncio.get_running_loop().time()
        for sighting in records.sightings(message):
            waiting = self._browsing.get(sighting.app_id)
            # Announcements of apps nobody asked for would fill the cache without end.
            if waiting is None and not self._cache.knows(sighting.app_id):
                continue
            self._cache.add(sighting, now)
            if waiting is not None and not waiting.done() and not sighting.gone:
                waiting.set_result(None)

    def _send(self, message: dns.Message) -> None:
        data = dns.build(message)
        for link in self._links:
            link.send(data)

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _numeric(host: str) -> str:
    """Records hold addresses: one that a name such as ``localhost`` stands for, IPv4 if any."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    else:
        return host
    try:
        async with asyncio.timeout(_LOOKUP_SECONDS):
            infos = await asyncio.get_running_loop().getaddrinfo(host, None)
    except (OSError, TimeoutError, UnicodeError) as error:
        raise ValueError(f"mdns: the address '{host}' cannot be announced: {error}") from error
    return str(min(infos, key=lambda info: info[0] is not socket.AF_INET)[4][0])
