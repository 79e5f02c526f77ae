"""Two daprds with one app behind both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from harness.raw_app import RawApp
from harness.sidecar import Sidecar
from harness.sidecar_pair import Pair, names_in


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    config = names_in(tmp_path_factory.mktemp("names"))
    with ExitStack() as stack:
        app = stack.enter_context(RawApp())
        back = stack.enter_context(Sidecar(app_port=app.port, config=config))
        front = stack.enter_context(Sidecar(app_port=app.port, config=config))
        yield Pair(front, back, app)


@pytest.fixture(autouse=True)
def _forget(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "pair" in request.fixturenames:
        found: Pair = request.getfixturevalue("pair")
        found.app.answers.clear()
        found.app.streams.clear()
        found.app.seen.clear()
