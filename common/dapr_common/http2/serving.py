"""What connections of HTTP/2 servers share: early answers, and leaving without losing a request."""

from __future__ import annotations

import asyncio
import contextlib

from dapr_common.http2 import session as h2
from dapr_common.http2.connection import Http2Connection

_DRAIN_PING = b"draining"
_DRAIN_SECONDS = 1.0


class ServingConnection(Http2Connection):
    """One client's connection; subclasses keep their open streams in ``open_streams``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, session: h2.Session) -> None:
        super().__init__(loop, session)
        self._greeted = False
        # Answered before the client had sent everything: reset once the answer has left.
        self._lingering: set[int] = set()
        self._shutting_down = False
        self._last_call: asyncio.TimerHandle | None = None

    @property
    def open_streams(self) -> int:
        """Requests under way."""
        raise NotImplementedError

    def flush(self, *, at_once: bool = False) -> None:
        super().flush(at_once=at_once)
        if (self._lingering or self._shutting_down) and not self._paused:
            self._settle()

    def _settle(self) -> None:
        """Reset what is answered and sent; close when that was all."""
        session = self.session
        sent = [number for number in self._lingering if not session.queued_body_size(number)]
        if sent:
            self._lingering.difference_update(sent)
            for number in sent:
                with contextlib.suppress(h2.SessionError):
                    session.reset_stream(number, h2.NO_ERROR)
            super().flush()
        if self._shutting_down and self._last_call is None and self._settled():
            self._transport.close()

    def _settled(self) -> bool:
        return not self.open_streams and not self._lingering and not self.session.queued_body_size()

    def shut_down(self) -> None:
        """Send GOAWAY; close once the open requests are answered.

        Requests on their way are still served: the first GOAWAY names no last stream, the second
        follows when the client has answered a ping, so that it has seen the first.
        """
        if self._shutting_down:
            return
        self._shutting_down = True
        if not self._greeted:
            self._transport.close()
            return
        self._last_call = self.loop.call_later(_DRAIN_SECONDS, self._last_goaway)
        with contextlib.suppress(h2.SessionError):
            self.session.send_shutdown_notice()
            self.session.ping(_DRAIN_PING)
        self.flush()

    def _ping_answered(self, opaque_data: bytes) -> None:
        self._ping_sent = None
        if opaque_data == _DRAIN_PING:
            self._last_goaway()

    def _last_goaway(self) -> None:
        if self._last_call is not None:
            self._last_call.cancel()
            self._last_call = None
            with contextlib.suppress(h2.SessionError):
                self.session.send_goaway()
            self.flush(at_once=True)

    def _stop_drain_timer(self) -> None:
        if self._last_call is not None:
            self._last_call.cancel()
