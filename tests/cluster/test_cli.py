"""``dapr … -k`` on a cluster whose pods run."""

from __future__ import annotations

import pytest
from cluster.applications import Space
from cluster.dapr import run
from cluster.kubectl import get
from cluster.leftovers import assert_nothing_is_left
from cluster.release import DEPLOYMENTS, NAMESPACE, Release, values
from cluster.waiting import Until

_SECONDS = 200


@pytest.fixture
def none(shared_release: Release) -> None:
    """No control plane is installed."""
    if shared_release.is_installed():
        shared_release.uninstall()


def test_it_installs_shows_upgrades_and_removes(none: None, until: Until) -> None:
    said = dapr("init", "-k", "--wait", *values())
    assert "Dapr is installed" in said
    rows = dapr("status", "-k").splitlines()
    for name in DEPLOYMENTS:
        (row,) = [line for line in rows if line.split()[0] == name]
        assert row.split()[1:4] == [NAMESPACE, "True", "Running"], row
    space = Space("apps")
    try:
        space.app("app")
        assert "app" in dapr("list", "-k", "-A")
        authority = get("secret", "dapr-trust-bundle", "-n", NAMESPACE)["data"]
        dapr("upgrade", "-k", "--set", "global.logAsJson=true")
        assert get("secret", "dapr-trust-bundle", "-n", NAMESPACE)["data"] == authority
        assert "is valid until" in dapr("logs", "-k", "-a", "app", "-n", space.name)
        dapr("uninstall", "-k")
        assert_nothing_is_left(until)
        assert not space.exists("service", "app-dapr")
    finally:
        space.remove()


def dapr(*words: str) -> str:
    return run(*words, seconds=_SECONDS)
