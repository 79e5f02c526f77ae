"""End to end: the chart with our images on a real cluster. ``make test-cluster`` gets both.

Every test has a namespace of its own; the release is shared, and installed again after a test has
taken it away.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from cluster.applications import Space
from cluster.figures import Figures
from cluster.kubectl import kubectl
from cluster.release import Release
from cluster.waiting import Until, wait_until

_FIGURES = pytest.StashKey[Figures]()


@pytest.fixture(scope="session")
def reachable() -> None:
    """Skips without ``TEST_CLUSTER``: what lies about here is nobody's to install things into."""
    if not os.environ.get("TEST_CLUSTER"):
        pytest.skip("needs a cluster: `make test-cluster`")
    kubectl("get", "--raw=/readyz")


@pytest.fixture(scope="session")
def shared_release(reachable: None) -> Iterator[Release]:
    release = Release()
    yield release
    if release.is_installed() and not os.environ.get("KEEP"):
        release.uninstall()


@pytest.fixture
def release(shared_release: Release) -> Release:
    """The control plane, ready."""
    shared_release.ensure()
    return shared_release


@pytest.fixture
def space(release: Release) -> Iterator[Space]:
    """A namespace for applications."""
    found = Space("apps")
    yield found
    found.remove()


@pytest.fixture
def until() -> Until:
    """Wait until something is so; returns how long it took."""
    return wait_until


@pytest.fixture
def figures(pytestconfig: pytest.Config) -> Figures:
    """What is measured; printed when everything is over."""
    return pytestconfig.stash.setdefault(_FIGURES, Figures())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    table = config.stash.get(_FIGURES, Figures()).table()
    if table:
        terminalreporter.section("measured, beside Dapr 1.18.3 on the same kind of cluster")
        for line in table:
            terminalreporter.write_line(line)
