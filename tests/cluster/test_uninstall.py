"""An uninstall leaves the kinds, and what users made of them, and nothing else."""

from __future__ import annotations

from cluster.applications import Space, component
from cluster.leftovers import assert_nothing_is_left
from cluster.release import Release
from cluster.waiting import Until


def test_nothing_is_left_but_the_kinds(release: Release, space: Space, until: Until) -> None:
    space.apply(component("memory", "state.in-memory"))
    space.app("app")
    until(lambda: space.exists("service", "app-dapr"), 30, "the Service is made")

    release.uninstall()

    assert_nothing_is_left(until)
    assert not space.exists("service", "app-dapr")
    assert space.exists("component", "memory")
