"""``dapr … -k`` on a cluster whose pods run."""

from __future__ import annotations

import os
import subprocess

import pytest
from cluster.applications import Space
from cluster.kubectl import CommandError, get, kubeconfig
from cluster.leftovers import assert_nothing_is_left
from cluster.programs import folder
from cluster.release import DEPLOYMENTS, NAMESPACE, Release, values
from cluster.waiting import Until
from harness.programs import console_script

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
    """What it says when it does what it was asked. Raises ``CommandError``."""
    path = os.pathsep.join((str(folder()), os.environ["PATH"]))
    done = subprocess.run(
        [console_script("dapr"), *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        env={**os.environ, "KUBECONFIG": str(kubeconfig()), "PATH": path},
    )
    if done.returncode or "❌" in done.stderr:
        raise CommandError(f"dapr {' '.join(words)}:\n{done.stdout}{done.stderr}")
    return done.stdout
