"""Path patterns as Go's ServeMux reads them: ``/orders/{id}``, ``/files/{rest...}``, ``/a/{$}``."""

from __future__ import annotations

from collections.abc import Iterable

from dapr_sidecar.telemetry.base import MetricsError

_LITERAL, _END, _ONE, _REST = range(4)


class Patterns:
    """A set of patterns; the most specific one that fits a path wins.

    Raises ``MetricsError`` for a pattern that is none.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        compiled = {pattern: _compile(pattern) for pattern in patterns}
        # A more specific pattern has the more specific segment where the two first differ.
        self._patterns = sorted(compiled.items(), key=lambda entry: [kind for kind, _ in entry[1]])

    def find(self, path: str) -> str | None:
        """The pattern of a path."""
        segments = path[1:].split("/")
        for pattern, parts in self._patterns:
            if _fits(parts, segments):
                return pattern
        return None


def _compile(pattern: str) -> list[tuple[int, str]]:
    if not pattern.startswith("/"):
        raise _wrong(pattern, "expected a leading slash")
    parts = [_segment(pattern, text) for text in pattern[1:].split("/")]
    if parts[-1] == (_LITERAL, ""):
        parts[-1] = (_REST, "")  # a trailing slash takes everything below
    elif parts[-1][0] == _LITERAL or parts[-1][0] == _ONE:
        parts.append((_END, ""))
    if any(kind in (_REST, _END) for kind, _ in parts[:-1]):
        raise _wrong(pattern, "{name...} must be the last segment")
    return parts


def _segment(pattern: str, text: str) -> tuple[int, str]:
    if not (text.startswith("{") and text.endswith("}")):
        if "{" in text or "}" in text:
            raise _wrong(pattern, f'"{text}" is no wildcard')
        return _LITERAL, text
    name = text[1:-1]
    if name == "$":
        return _END, "$"
    if name.endswith("..."):
        return _REST, name
    if not name.isidentifier():
        raise _wrong(pattern, f'"{text}" is no wildcard')
    return _ONE, name


def _fits(parts: list[tuple[int, str]], segments: list[str]) -> bool:
    for index, (kind, text) in enumerate(parts):
        if kind == _END:
            # "{$}" stands for the empty segment after a slash, the other end for none at all.
            return segments[index:] == ([""] if text else [])
        if index >= len(segments):
            return False
        if kind == _REST:
            return True
        if kind == _LITERAL and segments[index] != text:
            return False
        if kind == _ONE and not segments[index]:
            return False
    return False


def _wrong(pattern: str, reason: str) -> MetricsError:
    return MetricsError(f'metrics.http.pathMatching: invalid path pattern "{pattern}": {reason}')
