from __future__ import annotations

from collections.abc import Iterator

import pytest

from dapr_common.observe.tracing import current_span


@pytest.fixture(autouse=True)
def _no_span_stays() -> Iterator[None]:
    yield
    current_span.set(None)
