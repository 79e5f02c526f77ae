"""Upgrades while requests flow."""

from __future__ import annotations

from cluster.applications import Space
from cluster.kubectl import kubectl
from cluster.load import under_load
from cluster.release import Release, rollout
from cluster.waiting import Until


def test_an_upgrade_under_load_loses_nothing(release: Release, space: Space, until: Until) -> None:
    space.pair()
    with under_load(space, "source", "target") as load:
        try:
            release.upgrade(global__logAsJson=True)
        finally:
            release.upgrade()
    load.assert_nothing_failed(until)


def test_new_sidecars_under_load_lose_nothing(space: Space, until: Until) -> None:
    """After an upgrade: pods are made anew, one after the other, and requests go on."""
    space.pair(replicas=2)
    with under_load(space, "source", "target") as load:
        kubectl("rollout", "restart", "deployment/target", "-n", space.name)
        rollout("deployment/target", space.name)
    load.assert_nothing_failed(until, receiver="source")  # the other's pods are gone
