"""A placement server for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.placement_process import Placement


@pytest.fixture(scope="module")
def placement() -> Iterator[Placement]:
    with Placement() as running:
        yield running
