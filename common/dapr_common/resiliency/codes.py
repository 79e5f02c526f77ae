"""Which status codes a retry policy retries: ``"429,500-599"`` as a set."""

from __future__ import annotations

from dataclasses import dataclass

_HTTP = range(100, 600)
_GRPC = range(17)


@dataclass(frozen=True, slots=True)
class CodeFilter:
    """Allow lists by protocol; ``None`` (absent or empty) allows every code."""

    http: frozenset[int] | None = None
    grpc: frozenset[int] | None = None

    def allows(self, code: int) -> bool:
        """Whether a failure with this code is retried; a code of neither protocol is."""
        if code in _HTTP:
            return self.http is None or code in self.http
        if code in _GRPC:
            return self.grpc is None or code in self.grpc
        return True


ALL_CODES = CodeFilter()


def parse_codes(http: str, grpc: str) -> CodeFilter:
    """Read ``httpStatusCodes`` and ``gRPCStatusCodes``. Raises ``ValueError``."""
    return CodeFilter(
        _parse(http, _HTTP, "httpStatusCodes"), _parse(grpc, _GRPC, "gRPCStatusCodes")
    )


def _parse(text: str, valid: range, field: str) -> frozenset[int] | None:
    if not text.strip():
        return None
    codes: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low = _code(first, valid, field, text)
        high = _code(last, valid, field, text) if dash else low
        if high < low:
            raise ValueError(f'{field}: invalid range "{part.strip()}" in "{text}"')
        codes.update(range(low, high + 1))
    return frozenset(codes)


def _code(part: str, valid: range, field: str, text: str) -> int:
    digits = part.strip()
    if digits.isascii() and digits.isdigit() and int(digits[:9]) in valid:
        return int(digits)
    raise ValueError(
        f'{field}: invalid status code "{digits}" in "{text}": '
        f"expected codes or ranges between {valid[0]} and {valid[-1]}"
    )
