"""A runtime of its own for every test; nothing of what a test started may be left."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.cli import Dapr


@pytest.fixture
def dapr(tmp_path: Path) -> Iterator[Dapr]:
    cli = Dapr(tmp_path)
    cli.init()
    yield cli
    cli.assert_nothing_left()


@pytest.fixture
def app_id() -> str:
    return f"app-{secrets.token_hex(4)}"
