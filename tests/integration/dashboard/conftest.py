"""A dashboard of a runtime of its own; other tests' sidecars run on the same machine."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.dashboard import Dashboard


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Dashboard]:
    with Dashboard(home=tmp_path) as program:
        yield program


@pytest.fixture
def app_id() -> str:
    """Never that of another test."""
    return f"app-{secrets.token_hex(4)}"
