"""gRPC's own wire: message frames, compression, metadata, timeouts."""

from __future__ import annotations

import binascii
import re
import struct
import zlib
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Iterable
from functools import lru_cache

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError

Pair = tuple[bytes, bytes]
_HEAD = struct.Struct(">BI")
_UNPACK_HEAD = _HEAD.unpack_from
HEAD_BYTES = _HEAD.size
"""Of a message: whether it is compressed, and its length."""
_NO_LIMIT = 1 << 32
_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}
_UNITS = {
    ord("H"): 3600.0,
    ord("M"): 60.0,
    ord("S"): 1.0,
    ord("m"): 1e-3,
    ord("u"): 1e-6,
    ord("n"): 1e-9,
}
ACCEPTED_ENCODINGS = b"identity,gzip,deflate"
_RESERVED = frozenset(
    {
        b"te",
        b"content-type",
        b"user-agent",
        b"host",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
    }
)
_PASSED = frozenset({b"grpc-trace-bin", b"grpc-tags-bin"})
_HIDDEN = frozenset(
    {
        b"te",
        b"grpc-timeout",
        b"grpc-encoding",
        b"grpc-message-type",
        b"grpc-status",
        b"grpc-message",
        b"grpc-status-details-bin",
    }
)
_LONGEST_KEPT = 128
"""Of the names that are remembered: peers choose them."""
_NAME = re.compile(rb"[0-9a-z_.!#$%&'*+^`|~-]+").fullmatch
_PRINTABLE = bytes(byte if byte >= 0x20 and byte != 0x7F else 0x20 for byte in range(256))


def frame(message: bytes) -> bytes:
    """One uncompressed length-prefixed message."""
    return _HEAD.pack(0, len(message)) + message


def frame_compressed(message: bytes, encoding: bytes) -> bytes:
    """One compressed length-prefixed message."""
    packed = zlib.compress(message, 6, _WINDOW_BITS[encoding])
    return _HEAD.pack(1, len(packed)) + packed


class Packed(bytes):
    """A message as it came, still compressed."""

    __slots__ = ()


class Deframer:
    """Cuts a stream of DATA into messages.

    Compressed ones stay so until ``unpack``: what a slow reader makes wait is bounded by what was
    sent, not by what it expands to.
    """

    __slots__ = ("_chunks", "_encoding", "_limit", "_missing", "_size")

    def __init__(self, limit: int | None, encoding: bytes = b"identity") -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._missing = 5
        self._limit = _NO_LIMIT if limit is None else limit
        self._encoding = encoding

    @property
    def empty(self) -> bool:
        """Whether no partial message is left."""
        return not self._size

    def feed(self, data: bytes, messages: deque[bytes]) -> None:
        """Add the messages that are complete now. Raises ``RpcError`` for what may not pass."""
        size = len(data)
        if not self._size and size >= 5:
            flag, length = _UNPACK_HEAD(data)
            if size == length + 5 and not flag and length <= self._limit:
                messages.append(data[5:])
                return
        self._chunks.append(data)
        self._size += size
        if self._size >= self._missing:
            self._cut(messages)

    def _cut(self, messages: deque[bytes]) -> None:
        buffer = b"".join(self._chunks)
        position, size = 0, len(buffer)
        self._missing = 5
        while size - position >= 5:
            flag, length = _UNPACK_HEAD(buffer, position)
            if length > self._limit:
                raise too_large(length, self._limit)
            end = position + 5 + length
            if end > size:
                self._missing = 5 + length
                break
            if flag:
                self._check(flag)
                messages.append(Packed(buffer[position + 5 : end]))
            else:
                messages.append(buffer[position + 5 : end])
            position = end
        rest = buffer[position:] if position else buffer
        self._chunks = [rest] if rest else []
        self._size = len(rest)

    def _check(self, flag: int) -> None:
        if flag != 1:
            raise RpcError(GrpcCode.INTERNAL, f"grpc: received unexpected payload format {flag}")
        if self._encoding in (b"", b"identity"):
            raise RpcError(
                GrpcCode.INTERNAL, "grpc: compressed flag set with identity or empty encoding"
            )
        if self._encoding not in _WINDOW_BITS:
            raise no_decompressor(GrpcCode.INTERNAL, self._encoding)

    def unpack(self, message: bytes) -> bytes:
        """A compressed message in full. Raises ``RpcError``."""
        inflater = zlib.decompressobj(_WINDOW_BITS[self._encoding])
        try:
            plain = inflater.decompress(message, self._limit + 1)
            complete = inflater.eof or len(plain) > self._limit
        except zlib.error as error:
            raise _broken(str(error)) from error
        if not complete:
            raise _broken("unexpected EOF")
        if len(plain) > self._limit:
            raise RpcError(
                GrpcCode.RESOURCE_EXHAUSTED,
                f"grpc: received message after decompression larger than max {self._limit}",
            )
        return plain


def _broken(why: str) -> RpcError:
    return RpcError(GrpcCode.INTERNAL, f"grpc: failed to decompress the received message: {why}")


def no_decompressor(code: GrpcCode, encoding: bytes) -> RpcError:
    """The status of a compression nobody knows, in grpc-go's words."""
    shown = encoding.decode("latin-1")
    return RpcError(code, f'grpc: Decompressor is not installed for grpc-encoding "{shown}"')


def too_large(length: int, limit: int) -> RpcError:
    """The status of a message over the receive limit, in grpc-go's words."""
    return RpcError(
        GrpcCode.RESOURCE_EXHAUSTED,
        f"grpc: received message larger than max ({length} vs. {limit})",
    )


def parse_timeout(value: bytes) -> float | None:
    """``grpc-timeout`` in seconds; ``None`` when it is not one."""
    unit = _UNITS.get(value[-1]) if value else None
    if unit is None or not value[:-1].isdigit() or len(value) > 9:
        return None
    return int(value[:-1]) * unit


def format_timeout(seconds: float) -> bytes:
    """``grpc-timeout`` of at most eight digits."""
    micros = max(int(seconds * 1_000_000), 1)
    for limit, divisor, unit in (
        (100_000_000, 1, b"u"),
        (100_000_000_000, 1000, b"m"),
        (100_000_000_000_000, 1_000_000, b"S"),
    ):
        if micros < limit:
            return b"%d%b" % (micros // divisor, unit)
    return b"%dH" % (micros // 3_600_000_000)


def encode_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> list[Pair]:
    """Metadata as header pairs; ``-bin`` values become base64, reserved names are left out."""
    pairs: list[Pair] = []
    for name, value in metadata:
        key = _key(name) if len(name) <= _LONGEST_KEPT else _made_key(name)
        if not key:
            continue
        if key.endswith(b"-bin"):
            raw = value if isinstance(value, bytes) else value.encode("utf-8")
            pairs.append((key, encode_bin(raw)))
        else:
            text = value if isinstance(value, bytes) else value.encode("utf-8")
            pairs.append((key, text.translate(_PRINTABLE).strip()))
    return pairs


def _made_key(name: str) -> bytes:
    """A metadata name on the wire; empty when it may not go there."""
    try:
        key = name.lower().encode("ascii")
    except UnicodeEncodeError:
        return b""
    if key in _RESERVED or (key.startswith(b"grpc-") and key not in _PASSED):
        return b""
    return key if _NAME(key) else b""


_key = lru_cache(maxsize=1024)(_made_key)


@lru_cache(maxsize=1024)
def _text(name: bytes) -> str:
    return name.decode("latin-1")


def decode_metadata(pairs: Iterable[Pair]) -> list[tuple[str, str | bytes]]:
    """Header pairs as metadata, as grpc-go shows it: of the protocol's own names few are left."""
    found: list[tuple[str, str | bytes]] = []
    for name, value in pairs:
        if name in _HIDDEN or (name[:1] == b":" and name != b":authority"):
            continue
        text = _text(name) if len(name) <= _LONGEST_KEPT else name.decode("latin-1")
        if name.endswith(b"-bin"):
            found += [(text, decode_bin(part)) for part in value.split(b",")]
        else:
            found.append((text, value.decode("utf-8", "replace")))
    return found


def encode_bin(value: bytes) -> bytes:
    """A ``-bin`` value for the wire, without padding."""
    return b64encode(value).rstrip(b"=")


def decode_bin(value: bytes) -> bytes:
    """A ``-bin`` value; padding is optional."""
    try:
        return b64decode(value + b"=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        return b""
