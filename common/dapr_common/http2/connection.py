"""What all HTTP/2 connections share: writing, back-pressure, the life of the socket."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, Protocol

from dapr_common.http2 import session as h2

PING_DATA = b"keepaliv"
_TICK_SECONDS = 1.0
_MOST_AT_ONCE = 64 << 10


class Writer(Protocol):
    """A stream that waits until it may send more."""

    def wake_writers(self) -> None:
        """Look again whether there is room."""


class Http2Connection(asyncio.Protocol):
    """One HTTP/2 connection. What comes up in one turn of the loop leaves in one write."""

    def __init__(self, loop: asyncio.AbstractEventLoop, session: h2.Session) -> None:
        self.loop = loop
        self.session = session
        self.blocked: set[Writer] = set()
        self.last_activity = loop.time()
        self.heard_since = float("-inf")
        """When that was sent which the peer certainly heard last, by pings; ``time.monotonic``."""
        self._transport: Any = None
        self._flushing = False
        self._dispatching = False
        self._paused = False
        self._ping_sent: float | None = None
        self._pinged_at = float("-inf")
        self._ping_left = self._peer_pinged = float("-inf")

    # --- receiving --------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        session = self.session
        self._dispatching = True
        try:
            session.receive_data(data)
            self._dispatch(session.events())
        except h2.SessionError as error:
            self._broken(str(error))
            return
        finally:
            self._dispatching = False
        self.last_activity = self.loop.time()
        self.flush_soon()

    def _dispatch(self, events: list[Any]) -> None:
        """Act on what happened."""
        raise NotImplementedError

    def _broken(self, reason: str) -> None:
        """The session is of no further use."""
        raise NotImplementedError

    # --- sending ----------------------------------------------------------------------------

    def flush_soon(self) -> None:
        """Send at the end of this turn of the loop."""
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self.flush)

    def flush(self, *, at_once: bool = False) -> None:
        """Send what the session may send; a slow peer makes it wait, unless ``at_once``."""
        self._flushing = False
        if self._paused and not at_once:
            return
        try:
            data = self.session.data_to_send()
        except h2.SessionError:
            self.abort()
            return
        if data and not self._transport.is_closing():
            if len(data) <= _MOST_AT_ONCE:
                self._transport.write(data)
            else:
                self._write_in_pieces(data)
            if self.blocked:
                self._wake_writers()
        if not self._dispatching and (events := self.session.events()):
            # Streams end by what is sent as well: without this they would wait for the peer.
            self._dispatch_sent(events)

    def _write_in_pieces(self, data: bytes) -> None:
        """TLS keeps a buffer as large as the largest write, for as long as the connection lives."""
        for start in range(0, len(data), _MOST_AT_ONCE):
            self._transport.write(data[start : start + _MOST_AT_ONCE])

    def _dispatch_sent(self, events: list[Any]) -> None:
        self._dispatching = True
        try:
            self._dispatch(events)
        except h2.SessionError as error:
            self._broken(str(error))
        finally:
            self._dispatching = False

    def acknowledge(self, amount: int, stream_id: int) -> None:
        """Give receive window back; also for streams that have ended."""
        try:
            self.session.acknowledge_received_data(amount, stream_id)
        except (h2.SessionError, ValueError):
            return
        self.flush_soon()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.flush()
        self._wake_writers()

    def _wake_writers(self) -> None:
        blocked, self.blocked = self.blocked, set()
        for stream in blocked:
            stream.wake_writers()

    # --- life -------------------------------------------------------------------------------

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    def _close(self) -> None:
        """Close once what was written has left."""
        self.flush()
        self._transport.close()

    def _ping_lost(self, now: float, timeout: float) -> bool:
        return self._ping_sent is not None and now - self._ping_sent > timeout

    def _ping(self, now: float) -> None:
        self._ping_sent = self._pinged_at = now
        self._ping_left = time.monotonic()
        with contextlib.suppress(h2.SessionError):
            self.session.ping(PING_DATA)
        self.flush()

    def _heard_answer(self) -> None:
        """The peer answered the ping."""
        if self._ping_sent is not None:
            self._ping_sent = None
            self.heard_since = max(self.heard_since, self._ping_left)

    def _heard_ping(self) -> None:
        """The peer pings, which it does again only once its last ping was answered."""
        self.heard_since = max(self.heard_since, self._peer_pinged)
        self._peer_pinged = time.monotonic()


def tick_interval(*intervals: float | None) -> float:
    """How often to look after connections that have these time limits."""
    shortest = min((value for value in intervals if value is not None), default=_TICK_SECONDS)
    return max(min(_TICK_SECONDS, shortest / 4), 0.01)
