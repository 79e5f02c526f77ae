"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path


def home_expanded(text: str) -> Path:
    """A path whose ``~`` is a home directory; that of a user nobody knows stays, as in shells."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path's own raises for such a user
