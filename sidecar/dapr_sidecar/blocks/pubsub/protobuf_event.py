"""Tells whether bytes are a CloudEvent in its protobuf format, by the wire format alone."""

from __future__ import annotations

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_TEXT_FIELDS = frozenset({1, 2, 3, 4, 7})
_KNOWN_FIELDS = frozenset(range(1, 9))


def is_protobuf_event(data: bytes) -> bool:
    """Whether the bytes parse as ``io.cloudevents.v1.CloudEvent`` with the required attributes."""
    found: set[int] = set()
    at = 0
    try:
        while at < len(data):
            tag, at = _varint(data, at)
            field, kind = tag >> 3, tag & 7
            if field == 0 or (field in _KNOWN_FIELDS and kind != _BYTES):
                return False
            start, at = _skip(data, at, kind)
            if field in _TEXT_FIELDS:
                data[start:at].decode()
            found.add(field)
    except (ValueError, IndexError):
        return False
    return {1, 2, 3, 4} <= found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("varint is too long")


def _skip(data: bytes, at: int, kind: int) -> tuple[int, int]:
    if kind == _VARINT:
        return at, _varint(data, at)[1]
    if kind == _FIXED64:
        length = 8
    elif kind == _FIXED32:
        length = 4
    elif kind == _BYTES:
        length, at = _varint(data, at)
    else:
        raise ValueError("not a protobuf message")
    if at + length > len(data):
        raise ValueError("truncated")
    return at, at + length
