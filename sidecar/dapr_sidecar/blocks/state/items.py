"""What a request wants written: plain values, for both transports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dapr_sidecar.components.state.base import StateValue

_EMPTY: Mapping[str, str] = {}
_CONCURRENCY = frozenset({"", "first-write", "last-write"})
_CONSISTENCY = frozenset({"", "strong", "eventual"})


@dataclass(slots=True)
class SaveItem:
    """One item to save."""

    key: str
    value: StateValue
    etag: str | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    concurrency: str = ""
    consistency: str = ""
    content_type: str = ""


@dataclass(slots=True)
class DeleteItem:
    """One item to delete."""

    key: str
    etag: str | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    concurrency: str = ""
    consistency: str = ""


Item = SaveItem | DeleteItem


def check_options(item: Item) -> None:
    """Raise ``ValueError`` for a word Dapr does not know."""
    if item.concurrency not in _CONCURRENCY:
        raise ValueError(f"unrecognized concurrency model '{item.concurrency}'")
    if item.consistency not in _CONSISTENCY:
        raise ValueError(f"unrecognized consistency model '{item.consistency}'")
