from __future__ import annotations

import faulthandler

import pytest

_HANGS_SECONDS = 360


@pytest.fixture(autouse=True)
def _patience() -> None:
    """Thousands of actors take longer to come up than a blocked test may take elsewhere."""
    faulthandler.dump_traceback_later(_HANGS_SECONDS, exit=True)
