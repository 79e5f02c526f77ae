"""The one place that touches ``ngh2``: sessions, events and errors of HTTP/2, without I/O.

``ngh2`` is young; everything else is written against the names of this module, so that another
binding (or ``h2``) can take its place here.
"""

from __future__ import annotations

from ngh2 import (
    Configuration,
    Connection,
    DataReceived,
    GoAwayReceived,
    NGH2Error,
    PingAcknowledged,
    PingReceived,
    RequestReceived,
    ResponseReceived,
    Role,
    Setting,
    SettingsReceived,
    StreamClosed,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)

Session = Connection
"""``receive_data``, ``events``, ``data_to_send``, ``send_*``, ``reset_stream``, ``ping``, …"""

SessionError = NGH2Error
Header = tuple[bytes, bytes]

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR = 0x0, 0x1, 0x2
REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 0x7, 0x8, 0xB

_STREAM_WINDOW = 1 << 20
_CONNECTION_WINDOW = 8 << 20

__all__ = [
    "CANCEL",
    "ENHANCE_YOUR_CALM",
    "INTERNAL_ERROR",
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "REFUSED_STREAM",
    "DataReceived",
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
    "WindowUpdated",
    "client_session",
    "server_session",
]


def server_session(*, max_streams: int, max_header_list: int) -> Session:
    """A server's session with its settings queued for sending."""
    session = Connection(Role.SERVER, _configuration(max_header_list))
    session.initiate_connection(
        {
            Setting.MAX_CONCURRENT_STREAMS: max_streams,
            Setting.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
            Setting.MAX_HEADER_LIST_SIZE: max_header_list,
        }
    )
    session.set_local_window_size(_CONNECTION_WINDOW)
    return session


def client_session(*, max_header_list: int) -> Session:
    """A client's session with preface and settings queued for sending."""
    session = Connection(Role.CLIENT, _configuration(max_header_list))
    session.initiate_connection(
        {
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
            Setting.MAX_HEADER_LIST_SIZE: max_header_list,
        }
    )
    session.set_local_window_size(_CONNECTION_WINDOW)
    return session


def _configuration(max_header_list: int) -> Configuration:
    return Configuration(
        auto_window_update=False,
        max_inbound_header_list_size=max_header_list,
        max_send_header_block_length=max(max_header_list, 65_536),
        stream_reset_rate_limit=(1_000, 200),
    )
