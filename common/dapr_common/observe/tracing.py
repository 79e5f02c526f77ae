"""W3C trace context and spans; an unsampled span costs two random ids and nothing else."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import ClassVar, Literal, Protocol

Kind = Literal["CLIENT", "SERVER", "PRODUCER", "CONSUMER", "INTERNAL"]

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_ZERO_TRACE, _ZERO_SPAN = "0" * 32, "0" * 16
_SAMPLED = 1
_MAX_TRACESTATE = 512
_MAX_TEXT = 4096
"""Characters of a span's name and of each of its values: peers choose some, and a queue of spans
waits for its collector."""
_MAX_TRACESTATE_MEMBERS = 32
_TRACESTATE_MEMBER = re.compile(
    r"([a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])"
)
_RANDOM = random.SystemRandom()
_IDS = random.Random(_RANDOM.getrandbits(128))  # noqa: S311 - trace ids are no secrets
NO_TRACEPARENT = f"00-{_ZERO_TRACE}-{_ZERO_SPAN}-00"


class SpanContext:
    """The identity of a span. Ids are lower-case hex text, as they travel."""

    __slots__ = ("_traceparent", "flags", "span_id", "trace_id", "tracestate")

    def __init__(self, trace_id: str, span_id: str, flags: int = 0, tracestate: str = "") -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.flags = flags
        self.tracestate = tracestate
        self._traceparent = ""

    @property
    def sampled(self) -> bool:
        """Whether the trace is recorded."""
        return bool(self.flags & _SAMPLED)

    @property
    def valid(self) -> bool:
        """Whether it names a span at all."""
        return self.trace_id != _ZERO_TRACE

    @property
    def traceparent(self) -> str:
        """The W3C header value."""
        text = self._traceparent
        if not text:
            text = f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"
            self._traceparent = text
        return text

    @property
    def grpc_trace_bin(self) -> bytes:
        """The 29 bytes of ``grpc-trace-bin``."""
        trace, span = bytes.fromhex(self.trace_id), bytes.fromhex(self.span_id)
        return b"\x00\x00" + trace + b"\x01" + span + b"\x02" + bytes([self.flags])


NO_CONTEXT = SpanContext(_ZERO_TRACE, _ZERO_SPAN)


def parse_traceparent(text: str, tracestate: str = "") -> SpanContext | None:
    """Read a ``traceparent``; ``None`` when it is not one."""
    if (found := _TRACEPARENT.fullmatch(text)) is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest):
        return None
    if trace_id == _ZERO_TRACE or span_id == _ZERO_SPAN:
        return None
    state = tracestate if not tracestate or valid_tracestate(tracestate) else ""
    return SpanContext(trace_id, span_id, int(flags, 16) & _SAMPLED, state)


def valid_tracestate(text: str) -> bool:
    """Whether a ``tracestate`` may travel on: well formed, no key twice, not too long."""
    if len(text) > _MAX_TRACESTATE:
        return False
    keys: set[str] = set()
    for member in text.split(","):
        if not (member := member.strip(" \t")):
            continue
        found = _TRACESTATE_MEMBER.fullmatch(member)
        if found is None or found[1] in keys:
            return False
        keys.add(found[1])
    return 0 < len(keys) <= _MAX_TRACESTATE_MEMBERS


def parse_grpc_trace_bin(value: bytes) -> SpanContext | None:
    """Read ``grpc-trace-bin``; ``None`` when it is not one."""
    if len(value) != 29 or value[0] or value[1] or value[18] != 1 or value[27] != 2:
        return None
    trace_id, span_id = value[2:18].hex(), value[19:27].hex()
    if trace_id == _ZERO_TRACE or span_id == _ZERO_SPAN:
        return None
    return SpanContext(trace_id, span_id, value[28] & _SAMPLED)


class Span:
    """One operation that is not recorded: it only carries its identity on."""

    __slots__ = ("context",)

    recording: ClassVar[bool] = False

    def __init__(self, context: SpanContext) -> None:
        self.context = context

    def set(self, key: str, value: str) -> None:
        """Set an attribute; empty values are dropped."""

    def event(self, name: str) -> None:
        """Note something that happened during the span."""

    def fail(self, message: str) -> None:
        """Mark the span as failed."""

    def end(self) -> None:
        """Finish; a recorded span goes to the exporter."""


class RecordedSpan(Span):
    """One operation that exporters will see. Times are nanoseconds of the Unix epoch."""

    __slots__ = (
        "_sink",
        "attributes",
        "end_ns",
        "error",
        "events",
        "failed",
        "kind",
        "name",
        "parent_id",
        "start_ns",
    )

    recording: ClassVar[bool] = True

    def __init__(
        self, sink: SpanSink, name: str, kind: Kind, context: SpanContext, parent_id: str
    ) -> None:
        super().__init__(context)
        self._sink = sink
        self.name = name[:_MAX_TEXT]
        self.kind = kind
        self.parent_id = parent_id
        self.attributes: dict[str, str] = {}
        self.events: list[tuple[int, str]] = []
        self.error = ""
        self.failed = False
        self.start_ns = time.time_ns()
        self.end_ns = 0

    def set(self, key: str, value: str) -> None:
        """Set an attribute; empty values are dropped."""
        if value:
            self.attributes[key] = value[:_MAX_TEXT]

    def event(self, name: str) -> None:
        """Note something that happened during the span."""
        self.events.append((time.time_ns(), name))

    def fail(self, message: str) -> None:
        """Mark the span as failed; the first reason stands."""
        if not self.failed:
            self.error = message[:_MAX_TEXT]
            self.failed = True

    def end(self) -> None:
        """Finish, once, and go to the exporter."""
        if not self.end_ns:
            self.end_ns = time.time_ns()
            self._sink.add(self)


class SpanSink(Protocol):
    """Takes finished spans without ever blocking."""

    def add(self, span: RecordedSpan) -> None: ...


current_span: ContextVar[Span | None] = ContextVar("current_span", default=None)
"""The span of the API call or delivery that runs now."""


class Tracer:
    """Starts spans: parent based, trace-id ratio for roots."""

    def __init__(
        self,
        sampling_rate: float,
        sink: SpanSink | None = None,
        random_bits: Callable[[int], int] = _IDS.getrandbits,
    ) -> None:
        self.enabled = sampling_rate > 0
        self._sink = sink
        self._bound = int(min(sampling_rate, 1.0) * (1 << 63))
        self._bits = random_bits

    def start(self, name: str, kind: Kind, parent: SpanContext | None = None) -> Span:
        """Start a span under ``parent``, or a new trace.

        Where nothing takes spans there are none: the parent's context goes on as it came, and
        without one the ids are all zero, as Dapr's callers see it.
        """
        sink = self._sink
        if sink is None:
            return _NO_SPAN if parent is None else Span(parent)
        span_id = f"{self._bits(64) or 1:016x}"
        if parent is not None:
            context = SpanContext(parent.trace_id, span_id, parent.flags, parent.tracestate)
            if not parent.flags & _SAMPLED:
                return Span(context)
            return RecordedSpan(sink, name, kind, context, parent.span_id)
        trace = self._bits(128) or 1
        sampled = ((trace & 0xFFFFFFFFFFFFFFFF) >> 1) < self._bound
        context = SpanContext(f"{trace:032x}", span_id, int(sampled))
        return RecordedSpan(sink, name, kind, context, "") if sampled else Span(context)


_NO_SPAN = Span(NO_CONTEXT)


_BAGGAGE_KEY = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAGGAGE_VALUE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")


def validate_baggage(text: str) -> str | None:
    """``None`` when the W3C baggage header is valid, otherwise what is wrong."""
    if len(text) > 8192:
        return "baggage is too long"
    for member in text.split(","):
        pair, *properties = (part.strip() for part in member.split(";"))
        key, equals, value = pair.partition("=")
        if not equals or not _BAGGAGE_KEY.fullmatch(key.strip()):
            return f"invalid baggage member: {member.strip()!r}"
        if not _BAGGAGE_VALUE.fullmatch(value.strip()):
            return f"invalid baggage value: {member.strip()!r}"
        for entry in properties:
            key, _, value = entry.partition("=")
            if not _BAGGAGE_KEY.fullmatch(key.strip()) or not _BAGGAGE_VALUE.fullmatch(
                value.strip()
            ):
                return f"invalid baggage property: {entry!r}"
    return None
