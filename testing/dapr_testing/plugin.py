"""The pytest plugin: fixtures, and the logs of the sidecars under a failed test."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from dapr_testing.log_lines import readable
from dapr_testing.sidecar import Sidecar
from dapr_testing.sidecars import Sidecars

_LINES_SHOWN = 60
_WORLD = pytest.StashKey[Sidecars]()


@pytest.fixture
def dapr_sidecars(request: pytest.FixtureRequest) -> Iterator[Sidecars]:
    """The sidecars of one test; see ``dapr_testing.Sidecars``."""
    with Sidecars() as world:
        request.node.stash[_WORLD] = world
        yield world


@pytest.fixture
def dapr_sidecar(dapr_sidecars: Sidecars) -> Any:
    """Starts a sidecar: ``dapr_sidecar("orders", app=handler, components=[...])``."""

    def start(app_id: str = "app", **wanted: Any) -> Sidecar:
        __tracebackhide__ = True  # pytest shows the test's own line
        return dapr_sidecars.start(app_id, **wanted)

    return start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach what the sidecars wrote last."""
    report = yield
    world = item.stash.get(_WORLD, None)
    if world is not None and report.failed and call.when in ("setup", "call"):
        for sidecar in world.started:
            last = readable(sidecar.log.splitlines()[-_LINES_SHOWN:])
            report.sections.append((f"daprd {sidecar.app_id}", last))
    return report
