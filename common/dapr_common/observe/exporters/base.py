"""What a span exporter is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

from dapr_common.observe.tracing import RecordedSpan

SCOPE = "dapr-diagnostics"


class ExportError(Exception):
    """Spans were not taken. ``transient``: they may be when they are sent again."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class Exporter(Protocol):
    """Sends spans somewhere. Whoever calls it sets the deadline and tries again."""

    name: str
    """What log lines call it; without secrets."""

    async def export(self, spans: Sequence[RecordedSpan]) -> None:
        """Send spans, once. Raises ``ExportError`` or ``OSError``."""

    async def close(self) -> None:
        """Let go of connections."""


def shown_url(url: str) -> str:
    """A URL as log lines may show it: without credentials and query."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, place, parts.path, "", ""))
