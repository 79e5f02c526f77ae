"""End to end: the chart with our images on a real cluster. ``make test-cluster`` gets both.

Every test has a namespace of its own; the release is shared, and installed again after a test has
taken it away.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest
from cluster.applications import Space
from cluster.kubectl import CommandError, kubectl
from cluster.release import Release


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
def until() -> Callable[[Callable[[], bool], float, str], float]:
    """Wait until something is so; returns how long it took."""
    return wait_until


def wait_until(is_so: Callable[[], bool], seconds: float, what: str) -> float:
    started = time.monotonic()
    problem = ""
    while True:
        try:
            if is_so():
                return time.monotonic() - started
        except CommandError as error:
            problem = f": {error}"
        if time.monotonic() - started > seconds:
            pytest.fail(f"not in {seconds:.0f} s: {what}{problem}")
        time.sleep(0.05)
