"""What client libraries leave behind when a line dies: transports the collector has to close."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest

tolerate_dead_transports = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
"""For tests that kill lines: the collector may come by while they still run."""


@pytest.fixture
def collect_dead_transports() -> Iterator[None]:
    """Collect them with the test that killed their line, so that no later one is blamed."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
