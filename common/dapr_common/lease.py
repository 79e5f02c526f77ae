"""Who of several leads: whoever holds a lease, written in a store that others keep.

The store need only be able to replace a record on condition that nobody has replaced it meanwhile.
Clocks need not agree: a lease is old when it has not been written anew for its life, as seen from
here, and its holder lets it go earlier than that, counted from before it wrote.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.lease")

Lead = Callable[[], Awaitable[None]]
LeaderChanged = Callable[[str], None]


class StoreError(Exception):
    """The store did not do it, or not in time; the text says why."""


class ReplacedError(StoreError):
    """Somebody else has written since the record was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A lease as the store has it."""

    holder: str = ""
    """Empty: it is free."""
    life_seconds: float = 0.0
    address: str = ""
    """Where the holder is reached; empty where nobody needs it."""
    version: str = ""
    """Another one after each write; empty: there is no record yet."""
    raw: Any = None
    """The store's own form."""


class LeaseStore(Protocol):
    """Keeps one record. Both raise ``StoreError``."""

    async def read(self) -> Record:
        """As it is now, not as it was some time ago."""
        ...

    async def write(self, record: Record) -> Record:
        """Replace the record of ``record.version``. Raises ``ReplacedError`` if it is another."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: others may take the lease after its ``life``, its holder stops after ``give_up``.

    What is between the two is for clocks of different speed and for stopping.
    """

    life: float = 15.0
    renew: float = 2.0
    give_up: float = 10.0


def boot_clock() -> float:
    """Seconds, those in which the process or the machine stood still included."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Lease:
    """Held by one at a time. ``who`` names what leads in log lines.

    ``changed`` is told the leader's address whenever it is another one, empty when nobody leads.
    """

    def __init__(
        self,
        store: LeaseStore,
        who: str,
        *,
        address: str = "",
        changed: LeaderChanged = lambda _: None,
        pace: Pace | None = None,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        self.identity = f"{socket.gethostname()}_{secrets.token_hex(4)}"
        self._store = store
        self._who = who
        self._address = address
        self._changed = changed
        self._pace = pace or Pace()
        self._clock = clock
        self._until = float("-inf")
        self._leader = ""
        self._seen: tuple[str, float] = ("", 0.0)

    def is_held(self) -> bool:
        """Whether this one may act as the leader at this moment.

        Ask before each act: after a standstill the tasks that lead have not been cancelled yet.
        """
        return self._clock() < self._until

    async def run(self, lead: Lead) -> None:
        """Lead whenever this one may, until cancelled; then let another one at once."""
        while True:
            record = await self._try_to_hold()
            if record is None:
                await asyncio.sleep(self._pace.renew)
                continue
            _LOG.info("This %s leads: %s", self._who, self.identity)
            try:
                await self._lead(lead, record)
            finally:
                self._until = float("-inf")
                await self._release_in_any_case()
            _LOG.warning("This %s does not lead any longer", self._who)

    async def _lead(self, lead: Lead, record: Record) -> None:
        leading = asyncio.ensure_future(lead())
        renewing = asyncio.ensure_future(self._renew(record))
        try:
            await asyncio.wait({leading, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if leading.done():
                leading.result()
        finally:
            for task in (leading, renewing):
                task.cancel()
            await asyncio.wait({leading, renewing})

    async def _renew(self, record: Record) -> None:
        """Returns when the lease is lost, in time before anybody else may take it."""
        while True:
            await asyncio.sleep(max(min(self._pace.renew, self._left), 0.0))
            until = self._until
            if not self.is_held():
                return
            try:
                record = await self._write(record)
            except StoreError as error:
                _LOG.warning("The lease could not be renewed: %s", error)
                if (found := await self._look_again(record)) is None:
                    return
                record = found
            if self._clock() >= until:
                # Nobody else had it, but for a moment nobody was allowed to lead: begin anew.
                self._until = float("-inf")
                return

    async def _look_again(self, record: Record) -> Record | None:
        """What became of a write that failed: it may have been done all the same, or be late."""
        try:
            async with asyncio.timeout(max(self._left, 0.0)):
                record = await self._store.read()
        except (StoreError, TimeoutError):
            return record
        return record if record.holder == self.identity else None

    @property
    def _left(self) -> float:
        return self._until - self._clock()

    async def _try_to_hold(self) -> Record | None:
        try:
            async with asyncio.timeout(self._pace.give_up):
                record = await self._store.read()
        except (StoreError, TimeoutError) as error:
            _LOG.warning("The lease cannot be read: %s", str(error) or "no answer")
            return None
        if not self._is_free(record):
            self._tell(record.address)
            return None
        try:
            record = await self._write(record)
        except ReplacedError:
            return None  # another one was faster
        except StoreError as error:
            _LOG.warning("The lease cannot be taken: %s", error)
            return None
        self._tell(self._address)
        return record

    def _is_free(self, record: Record) -> bool:
        now = self._clock()
        if record.version != self._seen[0]:
            self._seen = (record.version, now)
        life = record.life_seconds or self._pace.life
        return record.holder in ("", self.identity) or now - self._seen[1] > life

    async def _write(self, record: Record) -> Record:
        """Take or renew. It counts from before it is asked for: others see it later."""
        began = self._clock()
        wanted = replace(
            record,
            holder=self.identity,
            life_seconds=self._pace.life,
            address=self._address,
        )
        try:
            async with asyncio.timeout(self._left if self.is_held() else self._pace.give_up):
                written = await self._store.write(wanted)
        except TimeoutError as error:
            raise StoreError("no answer") from error
        self._until = began + self._pace.give_up
        return written

    async def _release_in_any_case(self) -> None:
        """Also for one that is told to stop meanwhile; it takes a moment at most."""
        releasing = asyncio.ensure_future(self._release())
        try:
            await asyncio.shield(releasing)
        except asyncio.CancelledError:
            await asyncio.wait({releasing})
            raise

    async def _release(self) -> None:
        self._tell("")
        try:
            async with asyncio.timeout(self._pace.renew):
                record = await self._store.read()
                if record.holder == self.identity:
                    free = replace(record, holder="", life_seconds=1.0, address="")
                    await self._store.write(free)
        except (StoreError, TimeoutError) as error:
            _LOG.warning("The lease was not released, it runs out: %s", str(error) or "no answer")

    def _tell(self, address: str) -> None:
        if address != self._leader:
            self._leader = address
            self._changed(address)
