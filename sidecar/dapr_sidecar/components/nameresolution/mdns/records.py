"""What a sidecar announces of itself, and what it reads from the announcements of others."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass

from dapr_sidecar.components.nameresolution.mdns import dns

DOMAIN = "local."
SERVICES = "_services._dns-sd._udp.local."
_TTL, _HOST_TTL = 3200, 120


def service_name(app_id: str) -> str:
    """The name under which instances of an app are found."""
    return f"{app_id}.{DOMAIN}"


@dataclass(frozen=True, slots=True)
class Announcement:
    """One announced instance."""

    app_id: str
    hostname: str
    pid: int
    address: str
    port: int

    @property
    def service(self) -> str:
        """The app's name."""
        return service_name(self.app_id)

    @property
    def instance(self) -> str:
        """The instance's name."""
        return f"{self.hostname}:{self.pid}.{self.service}"

    @property
    def host(self) -> str:
        """The name of this machine."""
        name = self.hostname.rstrip(".")
        return f"{name}." if f"{name}.".endswith(f".{DOMAIN}") else f"{name}.{DOMAIN}"

    # --- records ----------------------------------------------------------------------------

    def pointer(self, ttl: int = _TTL) -> dns.Record:
        """Service → instance."""
        return dns.Record(self.service, dns.PTR, ttl, self.instance)

    def services(self, ttl: int = _TTL) -> dns.Record:
        """All services → this service."""
        return dns.Record(SERVICES, dns.PTR, ttl, self.service)

    def location(self, ttl: int = _TTL, *, flush: bool) -> dns.Record:
        """Instance → host and port."""
        return dns.Record(self.instance, dns.SRV, ttl, dns.Service(self.port, self.host), flush)

    def text(self, ttl: int = _TTL, *, flush: bool) -> dns.Record:
        """Instance → app id."""
        return dns.Record(self.instance, dns.TXT, ttl, (self.app_id.encode(),), flush)

    def addresses(self, ttl: int = _HOST_TTL, *, flush: bool) -> list[dns.Record]:
        """Host → address."""
        address = ipaddress.ip_address(self.address.partition("%")[0])
        kind = dns.A if address.version == 4 else dns.AAAA
        return [dns.Record(self.host, kind, ttl, address.packed, flush)]

    # --- messages ---------------------------------------------------------------------------

    def probe(self) -> dns.Message:
        """Asks whether the instance's name is taken."""
        return dns.Message(
            questions=[dns.Question(self.instance)],
            authorities=[self.location(flush=False), self.text(flush=False)],
        )

    def unsolicited(self) -> dns.Message:
        """Says that the instance is here."""
        records = [*self._named(), *self.addresses(flush=True)]
        return dns.Message(flags=dns.RESPONSE, answers=records)

    def goodbye(self) -> dns.Message:
        """Says that the instance is gone."""
        records = [*self._named(0), *self.addresses(0, flush=True)]
        return dns.Message(flags=dns.RESPONSE, answers=records)

    def _named(self, ttl: int = _TTL) -> list[dns.Record]:
        return [
            self.location(ttl, flush=True),
            self.text(ttl, flush=True),
            self.pointer(ttl),
            self.services(ttl),
        ]

    def answer(self, query: dns.Message) -> list[tuple[dns.Message, bool]]:
        """The answers to a query: messages, and whether each goes to the asker alone."""
        if query.is_response or query.authorities:
            return []
        found: list[tuple[dns.Message, bool]] = []
        for question in query.questions:
            message = self._answer_to(question, query.answers)
            if message is not None:
                message.id = query.id
                message.flags = dns.RESPONSE | dns.AUTHORITATIVE
                found.append((message, question.unicast))
        return found

    def _answer_to(self, question: dns.Question, known: Sequence[dns.Record]) -> dns.Message | None:
        if question.name == self.service:
            pointer = self.pointer()
            if _known(pointer, known):
                return None
            return dns.Message(
                answers=[pointer],
                additionals=[
                    self.location(flush=False),
                    self.text(flush=False),
                    *self.addresses(flush=False),
                ],
            )
        if question.name == self.instance:
            return dns.Message(answers=[*self._named(), *self.addresses(flush=False)])
        if question.name == SERVICES:
            services = self.services()
            return None if _known(services, known) else dns.Message(answers=[services])
        return None


def _known(record: dns.Record, known: Sequence[dns.Record]) -> bool:
    return any(
        other.type == record.type
        and other.name == record.name
        and other.data == record.data
        and other.ttl * 2 >= record.ttl
        for other in known
    )


def announcement(app_id: str, hostname: str, address: str, port: int) -> Announcement:
    """What this process announces."""
    return Announcement(app_id, hostname, os.getpid(), address, port)


@dataclass(frozen=True, slots=True)
class Sighting:
    """An instance that somebody announced; ``gone``: it takes its leave."""

    app_id: str
    port: int
    ipv4: str = ""
    ipv6: str = ""
    gone: bool = False


def sightings(message: dns.Message) -> list[Sighting]:
    """The app instances a packet tells of; all records of one must be in the packet."""
    if not message.is_response:
        return []
    records = message.records
    hosts: dict[str, dict[int, str]] = {}
    texts: dict[str, tuple[bytes, ...]] = {}
    for record in records:
        if isinstance(record.data, bytes):
            address = str(ipaddress.ip_address(record.data))
            hosts.setdefault(record.name, {}).setdefault(record.type, address)
        elif isinstance(record.data, tuple):
            texts[record.name] = record.data
    found: list[Sighting] = []
    for record in records:
        if isinstance(record.data, dns.Service):
            sighting = _sighting(record, record.data, texts.get(record.name, ()), hosts)
            if sighting is not None:
                found.append(sighting)
    return found


def _sighting(
    record: dns.Record,
    service: dns.Service,
    text: tuple[bytes, ...],
    hosts: dict[str, dict[int, str]],
) -> Sighting | None:
    if not text:
        return None
    app_id = text[0].decode("utf-8", "surrogateescape")
    if not record.name.endswith("." + service_name(app_id)):
        return None
    addresses = hosts.get(service.target)
    if not addresses:
        return None
    return Sighting(
        app_id,
        service.port,
        addresses.get(dns.A, ""),
        addresses.get(dns.AAAA, ""),
        gone=record.ttl == 0,
    )
