"""What happens on an HTTP/2 connection, as plain classes.

The native binding has classes of the same names and attributes; these stand in where it cannot be
installed, and are what the type checker sees.
"""

from __future__ import annotations

from dataclasses import dataclass

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """The headers of a request."""

    stream_id: int
    headers: tuple[Header, ...]
    end_stream: bool


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """The final headers of a response."""

    stream_id: int
    headers: tuple[Header, ...]
    end_stream: bool


@dataclass(frozen=True, slots=True)
class TrailersReceived:
    """Trailers; they end their stream."""

    stream_id: int
    headers: tuple[Header, ...]


@dataclass(frozen=True, slots=True)
class DataReceived:
    """A piece of a body; to be acknowledged once it is consumed."""

    stream_id: int
    data: bytes
    end_stream: bool


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer gave a stream up."""

    stream_id: int
    error_code: int


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """A stream is over on both sides."""

    stream_id: int
    error_code: int
    local_error: Exception | None


@dataclass(frozen=True, slots=True)
class SettingsReceived:
    """The peer's settings."""

    settings: dict[int, int]


@dataclass(frozen=True, slots=True)
class PingReceived:
    """A ping, already answered."""

    opaque_data: bytes


@dataclass(frozen=True, slots=True)
class PingAcknowledged:
    """The answer to a ping."""

    opaque_data: bytes


@dataclass(frozen=True, slots=True)
class GoAwayReceived:
    """The peer takes no new streams; those above ``last_stream_id`` were not processed."""

    last_stream_id: int
    error_code: int
    debug_data: bytes


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """Nothing more comes or goes, for instance because the peer broke the protocol."""

    error_code: int
    debug_data: bytes


class SessionError(Exception):
    """The connection, or the stream named in the call, cannot be used that way."""
