"""Addresses found by multicast DNS, per app id; given out in turn. No I/O."""

from __future__ import annotations

from dapr_common.aio.host import join_host_port
from dapr_sidecar.components.nameresolution.mdns.records import Sighting

LIFETIME = 60.0


class _Rotation:
    """Addresses of one family, with the time each was last seen."""

    __slots__ = ("_next", "seen")

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}
        self._next = 0

    def pick(self) -> str | None:
        if not self.seen:
            return None
        addresses = list(self.seen)
        chosen = addresses[self._next % len(addresses)]
        self._next += 1
        return chosen

    def evict(self, before: float) -> None:
        for address in [a for a, seen in self.seen.items() if seen < before]:
            del self.seen[address]


class AddressCache:
    """IPv4 addresses first, IPv6 when there are none."""

    def __init__(self) -> None:
        self._apps: dict[str, tuple[_Rotation, _Rotation]] = {}

    @property
    def app_ids(self) -> list[str]:
        """Every app id that was found and not yet evicted."""
        return list(self._apps)

    def knows(self, app_id: str) -> bool:
        """Whether the app was found before and not yet evicted."""
        return app_id in self._apps

    def add(self, sighting: Sighting, now: float) -> None:
        """Take what a packet told."""
        if sighting.gone:
            self._remove(sighting)
            return
        families = self._apps.get(sighting.app_id)
        if families is None:
            families = self._apps[sighting.app_id] = (_Rotation(), _Rotation())
        for rotation, address in zip(families, (sighting.ipv4, sighting.ipv6), strict=True):
            if address:
                rotation.seen[join_host_port(address, sighting.port)] = now

    def pick(self, app_id: str) -> str | None:
        """The next address of an app."""
        families = self._apps.get(app_id)
        if families is None:
            return None
        return families[0].pick() or families[1].pick()

    def forget(self, app_id: str, address: str) -> None:
        """This address does not answer."""
        for rotation in self._apps.get(app_id, ()):
            rotation.seen.pop(address, None)

    def evict(self, now: float) -> None:
        """Drop what was not seen for a lifetime, and apps without any address."""
        for app_id, families in list(self._apps.items()):
            for rotation in families:
                rotation.evict(now - LIFETIME)
            if not any(rotation.seen for rotation in families):
                del self._apps[app_id]

    def _remove(self, sighting: Sighting) -> None:
        for address in (sighting.ipv4, sighting.ipv6):
            if address:
                self.forget(sighting.app_id, join_host_port(address, sighting.port))
