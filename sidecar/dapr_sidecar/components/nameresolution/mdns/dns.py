"""DNS messages, read and built; only the record types that service discovery needs. No I/O.

Names are text with dots between labels and at the end, such as ``orders.local.``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

A, PTR, TXT, AAAA, SRV = 1, 12, 16, 28, 33
IN, TOP_BIT = 1, 0x8000
RESPONSE, AUTHORITATIVE = 0x8000, 0x0400

_HEAD = struct.Struct(">6H")
_RECORD = struct.Struct(">HHIH")
_SRV = struct.Struct(">3H")
_MAX_NAME, _MAX_LABEL = 255, 63


class MessageError(ValueError):
    """The bytes are no DNS message."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked; ``unicast`` asks for the answer to be sent to the asker alone."""

    name: str
    type: int = PTR
    unicast: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """The data of an SRV record."""

    port: int
    target: str
    priority: int = 0
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """One record. Data: a name (PTR), ``Service``, strings (TXT), or the bytes of an address."""

    name: str
    type: int
    ttl: int
    data: str | Service | tuple[bytes, ...] | bytes
    flush: bool = False


@dataclass(slots=True)
class Message:
    """One packet."""

    id: int = 0
    flags: int = 0
    questions: Sequence[Question] = ()
    answers: Sequence[Record] = ()
    authorities: Sequence[Record] = ()
    additionals: Sequence[Record] = ()

    @property
    def is_response(self) -> bool:
        """Whether this answers something."""
        return bool(self.flags & RESPONSE)

    @property
    def records(self) -> list[Record]:
        """The records of every section."""
        return [*self.answers, *self.authorities, *self.additionals]


# --- building -----------------------------------------------------------------------------------


def build(message: Message) -> bytes:
    """The message as bytes, names compressed. Raises ``MessageError`` for a name too long."""
    return _Writer().message(message)


@dataclass(slots=True)
class _Writer:
    out: bytearray = field(default_factory=bytearray)
    seen: dict[tuple[bytes, ...], int] = field(default_factory=dict)

    def message(self, message: Message) -> bytes:
        sections = (message.answers, message.authorities, message.additionals)
        self.out += _HEAD.pack(
            message.id, message.flags, len(message.questions), *map(len, sections)
        )
        for question in message.questions:
            self._name(question.name)
            top = TOP_BIT if question.unicast else 0
            self.out += struct.pack(">HH", question.type, IN | top)
        for section in sections:
            for record in section:
                self._record(record)
        return bytes(self.out)

    def _record(self, record: Record) -> None:
        self._name(record.name)
        top = TOP_BIT if record.flush else 0
        self.out += _RECORD.pack(record.type, IN | top, record.ttl, 0)
        start = len(self.out)
        data = record.data
        if isinstance(data, str):
            self._name(data)
        elif isinstance(data, Service):
            self.out += _SRV.pack(data.priority, data.weight, data.port)
            # Not compressed, as the original writes it and as RFC 2782 asks.
            self._name(data.target, compress=False)
        elif isinstance(data, tuple):
            for text in data:
                self.out += bytes((len(text[:255]),)) + text[:255]
        else:
            self.out += data
        struct.pack_into(">H", self.out, start - 2, len(self.out) - start)

    def _name(self, name: str, *, compress: bool = True) -> None:
        labels = labels_of(name)
        for index in range(len(labels)):
            rest = tuple(labels[index:])
            known = self.seen.get(rest)
            if known is not None and compress:
                self.out += struct.pack(">H", 0xC000 | known)
                return
            if known is None and len(self.out) < 0x4000:
                self.seen[rest] = len(self.out)
            label = labels[index]
            self.out += bytes((len(label),)) + label
        self.out.append(0)


def labels_of(name: str) -> list[bytes]:
    """A name's labels. Raises ``MessageError`` for what no DNS name can hold."""
    labels = [label.encode("utf-8", "surrogateescape") for label in name.split(".") if label]
    if any(len(label) > _MAX_LABEL for label in labels):
        raise MessageError(f"DNS name has a label longer than {_MAX_LABEL} bytes: {name}")
    if sum(len(label) + 1 for label in labels) + 1 > _MAX_NAME:
        raise MessageError(f"DNS name is longer than {_MAX_NAME} bytes: {name}")
    return labels


# --- reading ------------------------------------------------------------------------------------


def parse(data: bytes) -> Message:
    """Read a packet. Raises ``MessageError``; records of other types are left out."""
    if len(data) < _HEAD.size:
        raise MessageError("truncated header")
    identity, flags, *counts = _HEAD.unpack_from(data)
    reader = _Reader(data, _HEAD.size)
    questions = [reader.question() for _ in range(counts[0])]
    sections = [
        [record for _ in range(count) if (record := reader.record()) is not None]
        for count in counts[1:]
    ]
    return Message(identity, flags, questions, *sections)


class _Reader:
    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    def question(self) -> Question:
        name = self._name()
        kind, group = struct.unpack(">HH", self._take(4))
        return Question(name, kind, bool(group & TOP_BIT))

    def record(self) -> Record | None:
        name = self._name()
        kind, group, ttl, length = _RECORD.unpack(self._take(_RECORD.size))
        end = self._position + length
        if end > len(self._data):
            raise MessageError("truncated record")
        found = self._content(kind, end)
        self._position = end
        if found is None:
            return None
        return Record(name, kind, ttl, found, bool(group & TOP_BIT))

    def _content(self, kind: int, end: int) -> str | Service | tuple[bytes, ...] | bytes | None:
        if kind == PTR:
            return self._name()
        if kind == SRV:
            priority, weight, port = _SRV.unpack(self._take(_SRV.size))
            return Service(port, self._name(), priority, weight)
        if kind == TXT:
            return self._strings(end)
        size = {A: 4, AAAA: 16}.get(kind)
        if size is None:
            return None
        if end - self._position != size:
            raise MessageError("an address of the wrong length")
        return self._take(size)

    def _strings(self, end: int) -> tuple[bytes, ...]:
        found: list[bytes] = []
        while self._position < end:
            size = self._take(1)[0]
            if self._position + size > end:
                raise MessageError("truncated text")
            found.append(self._take(size))
        return tuple(found)

    def _take(self, size: int) -> bytes:
        piece = self._data[self._position : self._position + size]
        if len(piece) != size:
            raise MessageError("truncated message")
        self._position += size
        return piece

    def _name(self) -> str:
        labels: list[str] = []
        data, position = self._data, self._position
        jumped = False
        total = 1
        while True:
            if position >= len(data):
                raise MessageError("truncated name")
            size = data[position]
            if size >= 0xC0:
                if position + 1 >= len(data):
                    raise MessageError("truncated name")
                if not jumped:
                    self._position = position + 2
                    jumped = True
                target = (size & 0x3F) << 8 | data[position + 1]
                if target >= position:
                    # Only backwards: so no chain of pointers can go round.
                    raise MessageError("a name points forwards")
                position = target
                continue
            if size > _MAX_LABEL:
                raise MessageError("a label of an unknown kind")
            position += 1
            if size == 0:
                break
            if position + size > len(data):
                raise MessageError("truncated name")
            total += size + 1
            if total > _MAX_NAME:
                raise MessageError("a name is too long")
            labels.append(data[position : position + size].decode("utf-8", "surrogateescape"))
            position += size
        if not jumped:
            self._position = position
        return ".".join(labels) + "."
