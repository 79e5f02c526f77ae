"""The entries of ``spec.policies`` of a Resiliency, each read on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dapr_common.durations import parse_go_duration
from dapr_common.resiliency.codes import ALL_CODES, CodeFilter, parse_codes
from dapr_common.resiliency.trip import DEFAULT, Trip, compile_trip


class SpecError(ValueError):
    """A field of a Resiliency cannot be used; ``path`` names it, below ``spec``."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """One ``retries`` entry; times are seconds, a negative ``max_retries`` means no limit."""

    name: str
    policy: Literal["constant", "exponential"] = "constant"
    duration: float = 5.0
    max_interval: float = 60.0
    max_retries: int = -1
    matching: CodeFilter = ALL_CODES
    max_elapsed: float = 900.0
    """Only for exponential: nothing is retried later than this after the first attempt."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """One ``circuitBreakers`` entry; times are seconds, ``interval`` 0 never clears the counts."""

    name: str
    max_requests: int = 1
    interval: float = 0.0
    timeout: float = 60.0
    trip: Trip = field(default_factory=lambda: compile_trip(DEFAULT))


def read_timeout(value: Any, path: str) -> float:
    """Seconds of a Go duration, or of a bare number of milliseconds. Raises ``SpecError``."""
    text = str(value).strip()
    if isinstance(value, bool):
        raise SpecError(path, "expected a duration")
    try:
        return int(text) / 1000
    except ValueError:
        pass
    try:
        return parse_go_duration(text).total_seconds()
    except ValueError as error:
        raise SpecError(path, str(error)) from error


def read_retry(value: Any, path: str) -> RetryPolicy:
    """One retry policy. Raises ``SpecError``."""
    entry = mapping(value, path)
    kind = str(entry.get("policy") or "constant").lower()
    if kind not in ("constant", "exponential"):
        raise SpecError(f"{path}.policy", f'expected constant or exponential, got "{kind}"')
    policy: Literal["constant", "exponential"] = "constant" if kind == "constant" else "exponential"
    matching = mapping(entry.get("matching"), f"{path}.matching")
    try:
        codes = parse_codes(
            text_of(matching, "httpStatusCodes"), text_of(matching, "gRPCStatusCodes")
        )
    except ValueError as error:
        raise SpecError(f"{path}.matching", str(error)) from error
    return RetryPolicy(
        name_in(path),
        policy,
        _given(entry, "duration", 5.0, path),
        _given(entry, "maxInterval", 60.0, path),
        integer(entry, "maxRetries", -1, path),
        codes,
    )


def read_breaker(value: Any, path: str) -> BreakerPolicy:
    """One circuit breaker. Raises ``SpecError``."""
    entry = mapping(value, path)
    try:
        trip = compile_trip(text_of(entry, "trip") or DEFAULT)
    except ValueError as error:
        raise SpecError(f"{path}.trip", str(error)) from error
    return BreakerPolicy(
        name_in(path),
        # Zero means the default here, as for every number of a breaker.
        max(integer(entry, "maxRequests", 1, path), 0) or 1,
        max(_given(entry, "interval", 0.0, path), 0.0),
        max(_given(entry, "timeout", 60.0, path), 0.0) or 60.0,
        trip,
    )


# --- parts that targets have, too ---------------------------------------------------------------


def mapping(value: Any, path: str) -> Mapping[str, Any]:
    """A mapping, empty when nothing is there. Raises ``SpecError``."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SpecError(path, "expected a mapping")
    return value


def integer(entry: Mapping[str, Any], name: str, default: int, path: str) -> int:
    """A whole number, also as text. Raises ``SpecError``."""
    value = entry.get(name)
    if value is None or value == "":
        return default
    try:
        if isinstance(value, bool):
            raise ValueError
        return int(str(value))
    except ValueError:
        raise SpecError(f"{path}.{name}", f'expected an integer, got "{value}"') from None


def text_of(entry: Mapping[str, Any], name: str) -> str:
    """A text without blanks around it; empty when nothing is there."""
    value = entry.get(name)
    return "" if value is None else str(value).strip()


def name_in(path: str) -> str:
    """The name of an entry, which may have dots."""
    return path.split(".", 2)[2]


def _given(entry: Mapping[str, Any], name: str, default: float, path: str) -> float:
    value = entry.get(name)
    if value is None or value == "":
        return default
    return read_timeout(value, f"{path}.{name}")
