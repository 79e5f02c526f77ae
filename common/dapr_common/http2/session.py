"""HTTP/2 sessions without I/O: bytes in, events out; and the one place that touches ``ngh2``.

``ngh2`` is young. Everything else is written against ``Session``, so that another binding can take
its place; ``h2_session`` (pure Python) does when ``DAPR_HTTP2_ENGINE=h2`` or ``ngh2`` is missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from dapr_common.http2.events import (
        ConnectionClosed,
        DataReceived,
        GoAwayReceived,
        Header,
        PingAcknowledged,
        PingReceived,
        RequestReceived,
        ResponseReceived,
        SessionError,
        SettingsReceived,
        StreamClosed,
        StreamReset,
        TrailersReceived,
    )
else:
    try:
        from ngh2 import (
            ConnectionClosed,
            DataReceived,
            GoAwayReceived,
            Header,
            PingAcknowledged,
            PingReceived,
            RequestReceived,
            ResponseReceived,
            SettingsReceived,
            StreamClosed,
            StreamReset,
            TrailersReceived,
        )
        from ngh2 import NGH2Error as SessionError
    except ImportError:
        from dapr_common.http2.events import (
            ConnectionClosed,
            DataReceived,
            GoAwayReceived,
            Header,
            PingAcknowledged,
            PingReceived,
            RequestReceived,
            ResponseReceived,
            SessionError,
            SettingsReceived,
            StreamClosed,
            StreamReset,
            TrailersReceived,
        )

Engine = Literal["ngh2", "h2"]

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR = 0x0, 0x1, 0x2
REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 0x7, 0x8, 0xB

STREAM_WINDOW = 1 << 20
"""What a peer may send on one stream before its reader takes something."""

CONNECTION_WINDOW = 64 << 20
"""The same for all streams of a connection: what bounds memory when many readers are slow."""

MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_HEADER_LIST_SIZE, ENABLE_PUSH = 3, 4, 6, 2
RESET_BURST, RESETS_PER_SECOND = 1_000, 200
"""How many streams a client may open and reset at once, and how fast it earns new ones."""

__all__ = [
    "CANCEL",
    "CONNECTION_WINDOW",
    "ENABLE_PUSH",
    "ENHANCE_YOUR_CALM",
    "INITIAL_WINDOW_SIZE",
    "INTERNAL_ERROR",
    "MAX_CONCURRENT_STREAMS",
    "MAX_HEADER_LIST_SIZE",
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "REFUSED_STREAM",
    "RESETS_PER_SECOND",
    "RESET_BURST",
    "STREAM_WINDOW",
    "ConnectionClosed",
    "DataReceived",
    "Engine",
    "GoAwayReceived",
    "Header",
    "PingAcknowledged",
    "PingReceived",
    "RequestReceived",
    "ResponseReceived",
    "Session",
    "SessionError",
    "SettingsReceived",
    "StreamClosed",
    "StreamReset",
    "TrailersReceived",
    "client_session",
    "server_session",
    "upgraded_session",
]


class Session(Protocol):
    """One end of a connection. Methods raise ``SessionError``.

    Bodies are queued without limit: a sender watches ``queued_body_size``. Received data must be
    acknowledged, also on streams that have ended, or the connection's window shrinks.
    """

    def receive_data(self, data: bytes, /) -> None:
        """Take bytes of the peer. After an error the session is of no further use."""

    def events(self) -> list[Any]:
        """What happened since the last call, in order; sending makes events, too."""

    def data_to_send(self) -> bytes:
        """All bytes that may go out now."""

    def send_request(self, headers: Iterable[Header], *, end_stream: bool = False) -> int:
        """Open a stream; it waits inside when the peer allows no more at the moment."""

    def send_response(
        self, stream_id: int, headers: Iterable[Header], *, end_stream: bool = False
    ) -> None:
        """Answer a request with headers."""

    def send_data(self, stream_id: int, data: bytes, *, end_stream: bool = False) -> None:
        """Queue a piece of a body."""

    def end_stream(self, stream_id: int) -> None:
        """End this side after what is queued."""

    def send_trailers(self, stream_id: int, headers: Iterable[Header]) -> None:
        """End this side with trailers after what is queued."""

    def reset_stream(self, stream_id: int, error_code: int = CANCEL) -> None:
        """Give a stream up, with what is queued on it. Does nothing when it has ended."""

    def ping(self, opaque_data: bytes) -> None:
        """Send a ping of eight bytes."""

    def send_shutdown_notice(self) -> None:
        """Tell the peer to open no more streams, while those on their way are still served."""

    def send_goaway(self, error_code: int = NO_ERROR, *, debug_data: bytes = b"") -> None:
        """Tell the peer which stream was the last one served.

        The bytes must be taken before more are received, or a later stream is served all the same.
        """

    def acknowledge_received_data(self, amount: int, stream_id: int) -> None:
        """Let the peer send as much again."""

    def queued_body_size(self, stream_id: int | None = None) -> int:
        """Bytes queued on one stream, or on all."""

    @property
    def can_send_request(self) -> bool:
        """Whether a stream may still be opened on this connection."""


def server_session(
    *, max_streams: int, max_header_list: int, engine: Engine | None = None
) -> Session:
    """A server's session with its settings queued for sending."""
    settings = _server_settings(max_streams, max_header_list)
    return _session(settings, max_header_list, engine, client=False)


def upgraded_session(
    peer_settings: bytes,
    *,
    head: bool,
    max_streams: int,
    max_header_list: int,
    engine: Engine | None = None,
) -> Session:
    """A server's session after an HTTP/1.1 upgrade: the request is stream 1, without an event.

    ``peer_settings`` is the decoded ``HTTP2-Settings``. Raises ``SessionError`` or ``ValueError``.
    """
    settings = _server_settings(max_streams, max_header_list)
    upgrade = (peer_settings, head)
    return _session(settings, max_header_list, engine, client=False, upgrade=upgrade)


def _server_settings(max_streams: int, max_header_list: int) -> dict[int, int]:
    return {
        MAX_CONCURRENT_STREAMS: max_streams,
        INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        MAX_HEADER_LIST_SIZE: max_header_list,
    }


def client_session(*, max_header_list: int, engine: Engine | None = None) -> Session:
    """A client's session with preface and settings queued for sending."""
    settings = {
        ENABLE_PUSH: 0,
        INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        MAX_HEADER_LIST_SIZE: max_header_list,
    }
    return _session(settings, max_header_list, engine, client=True)


def _session(
    settings: dict[int, int],
    max_header_list: int,
    engine: Engine | None,
    *,
    client: bool,
    upgrade: tuple[bytes, bool] | None = None,
) -> Session:
    if (engine or _ENGINE) == "h2":
        from dapr_common.http2.h2_session import H2Session

        return H2Session(settings, client=client, upgrade=None if upgrade is None else upgrade[0])
    from ngh2 import Configuration, Connection, Role

    configuration = Configuration(
        auto_window_update=False,
        max_inbound_header_list_size=max_header_list,
        max_send_header_block_length=max(max_header_list, 65_536),
        stream_reset_rate_limit=(RESET_BURST, RESETS_PER_SECOND),
    )
    session = Connection(Role.CLIENT if client else Role.SERVER, configuration)
    if upgrade is None:
        session.initiate_connection(settings)
    else:
        payload, head = upgrade
        session.initiate_upgrade(payload, local_settings=settings, head_request=head)
    session.set_local_window_size(CONNECTION_WINDOW)
    return session


def _default_engine() -> str:
    native = SessionError.__module__.startswith("ngh2")
    return os.environ.get("DAPR_HTTP2_ENGINE", "ngh2" if native else "h2")


_ENGINE = _default_engine()
