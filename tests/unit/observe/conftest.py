from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.http_collector import HttpCollector, http_collector


@pytest.fixture
def collector() -> Iterator[HttpCollector]:
    with http_collector() as served:
        yield served
