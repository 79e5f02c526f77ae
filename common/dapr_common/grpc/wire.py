"""gRPC's own wire: message frames, compression, metadata, timeouts."""

from __future__ import annotations

import binascii
import gzip
import struct
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError

Pair = tuple[bytes, bytes]
_HEAD = struct.Struct(">BI")
_UNITS = {
    ord("H"): 3600.0,
    ord("M"): 60.0,
    ord("S"): 1.0,
    ord("m"): 1e-3,
    ord("u"): 1e-6,
    ord("n"): 1e-9,
}
ACCEPTED_ENCODINGS = b"identity,gzip,deflate"
_RESERVED = frozenset({b"te", b"content-type", b"user-agent", b"host"})


def frame(message: bytes) -> bytes:
    """One uncompressed length-prefixed message."""
    return _HEAD.pack(0, len(message)) + message


def frame_compressed(message: bytes, encoding: bytes) -> bytes:
    """One compressed length-prefixed message."""
    packed = gzip.compress(message, 6, mtime=0) if encoding == b"gzip" else zlib.compress(message)
    return _HEAD.pack(1, len(packed)) + packed


class Deframer:
    """Cuts a stream of DATA into messages. Raises ``RpcError`` for what may not pass."""

    __slots__ = ("_buffer", "_encoding", "_limit")

    def __init__(self, limit: int | None, encoding: bytes = b"identity") -> None:
        self._buffer = b""
        self._limit = limit
        self._encoding = encoding

    @property
    def empty(self) -> bool:
        """Whether no partial message is left."""
        return not self._buffer

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are complete now."""
        buffer = self._buffer + data if self._buffer else data
        position, size = 0, len(buffer)
        while size - position >= 5:
            flag, length = _HEAD.unpack_from(buffer, position)
            if self._limit is not None and length > self._limit:
                raise too_large(length, self._limit)
            end = position + 5 + length
            if end > size:
                break
            message = buffer[position + 5 : end]
            position = end
            yield message if not flag else self._unpack(flag, message)
        self._buffer = buffer[position:] if position else buffer

    def _unpack(self, flag: int, message: bytes) -> bytes:
        if flag != 1 or self._encoding not in (b"gzip", b"deflate"):
            raise RpcError(
                GrpcCode.INTERNAL, "grpc: compressed flag set with identity or empty encoding"
            )
        wbits = 31 if self._encoding == b"gzip" else 15
        inflater = zlib.decompressobj(wbits)
        bound = 0 if self._limit is None else self._limit + 1
        try:
            plain = inflater.decompress(message, bound)
        except zlib.error as error:
            raise RpcError(
                GrpcCode.INTERNAL, f"grpc: failed to decompress the received message: {error}"
            ) from error
        if self._limit is not None and len(plain) > self._limit:
            raise RpcError(
                GrpcCode.RESOURCE_EXHAUSTED,
                f"grpc: received message after decompression larger than max {self._limit}",
            )
        return plain


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
        key = name.lower().encode()
        if key[:1] == b":" or key in _RESERVED or (key.startswith(b"grpc-") and key not in _PASSED):
            continue
        if key.endswith(b"-bin"):
            raw = value if isinstance(value, bytes) else value.encode("latin-1")
            pairs.append((key, b64encode(raw).rstrip(b"=")))
        else:
            text = value if isinstance(value, bytes) else value.encode("utf-8")
            pairs.append((key, text.strip().replace(b"\r", b" ").replace(b"\n", b" ")))
    return pairs


_PASSED = frozenset({b"grpc-trace-bin", b"grpc-tags-bin"})


def decode_metadata(pairs: Iterable[Pair]) -> list[tuple[str, str | bytes]]:
    """Header pairs as metadata; pseudo headers are left out."""
    found: list[tuple[str, str | bytes]] = []
    for name, value in pairs:
        if name[:1] == b":":
            continue
        if name.endswith(b"-bin"):
            found += [(name.decode("latin-1"), decode_bin(part)) for part in value.split(b",")]
        else:
            found.append((name.decode("latin-1"), value.decode("utf-8", "replace")))
    return found


def decode_bin(value: bytes) -> bytes:
    """A ``-bin`` value; padding is optional."""
    try:
        return b64decode(value + b"=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        return b""
