"""gRPC statuses as exceptions, and their wire form."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from google.protobuf.message import Message
from google.rpc import status_pb2

from dapr_common.errors import GrpcCode

_UNRESERVED = frozenset(range(0x20, 0x7F)) - {0x25}
_FIELD_BYTES = 32  # as HTTP/2 counts them, beside name and value
_CUT = b"..."


class RpcError(Exception):
    """A call that ended with a status other than OK.

    ``details_bin`` is the raw ``grpc-status-details-bin`` when the status came from a peer.
    """

    def __init__(
        self,
        code: GrpcCode | int,
        message: str = "",
        details: Sequence[Message] = (),
        *,
        details_bin: bytes = b"",
        trailers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.code = GrpcCode(code) if 0 <= int(code) <= 16 else GrpcCode.UNKNOWN
        super().__init__(f"rpc error: code = {self.code.go_name} desc = {message}")
        self.message = message
        self.details = tuple(details)
        self.trailers = list(trailers)
        self._details_bin = details_bin

    @property
    def details_bin(self) -> bytes:
        """The serialised ``google.rpc.Status``, or empty when there are no details."""
        if self._details_bin or not self.details:
            return self._details_bin
        return bytes(self.status().SerializeToString())

    def status(self) -> status_pb2.Status:
        """The rich status."""
        if self._details_bin:
            return status_pb2.Status.FromString(self._details_bin)
        status = status_pb2.Status(code=int(self.code), message=self.message)
        for detail in self.details:
            status.details.add().Pack(detail)
        return status


class UnprocessedError(RpcError):
    """The target has not begun to process the call: it may be made again, there or elsewhere."""


class HandshakeError(RpcError):
    """The target was reached, but it or its certificate is not what was asked for."""


def encode_message(text: str) -> bytes:
    """``grpc-message`` as the wire wants it: UTF-8, percent-encoded.

    No header may begin or end with a space: strict peers drop the whole answer.
    """
    raw = text.encode("utf-8", "replace")
    inner = raw.strip(b" ")
    if len(inner) == len(raw) and all(byte in _UNRESERVED for byte in raw):
        return raw
    before = raw.index(inner)
    after = len(raw) - before - len(inner)
    encoded = b"".join(bytes((b,)) if b in _UNRESERVED else b"%%%02X" % b for b in inner)
    return b"%20" * before + encoded + b"%20" * after


def decode_message(raw: bytes) -> str:
    """``grpc-message`` as text."""
    if b"%" in raw:
        raw = unquote_to_bytes(raw)
    return raw.decode("utf-8", "replace")


def fitted(trailers: list[tuple[bytes, bytes]], limit: int) -> list[tuple[bytes, bytes]]:
    """Trailers of an error that a peer takes, or nearly so; those that fit already are returned.

    The details go first, then the end of the message: a peer that gets more than it takes ends the
    connection, with all calls on it, and then its callers try again.
    """
    for left_out in (b"", b"grpc-status-details-bin"):
        kept = [pair for pair in trailers if pair[0] != left_out]
        excess = sum([len(name) + len(value) + _FIELD_BYTES for name, value in kept]) - limit
        if excess <= 0:
            return kept
    return [
        (name, _shortened(value, excess) if name == b"grpc-message" else value)
        for name, value in kept
    ]


def _shortened(message: bytes, excess: int) -> bytes:
    """An encoded message without so many bytes of its end."""
    kept = message[: max(len(message) - excess - len(_CUT), 0)]
    percent = kept.rfind(b"%", -2)
    return (kept if percent < 0 else kept[:percent]) + _CUT
