"""Actors with mutual TLS: placement and the owner are who they must be, callers are named."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from harness.identified import identified, identified_placement
from harness.placement_process import Placement
from harness.sentry import Sentry
from integration.actors.hosts import Host, call_actor, client, host, runtime, wait_hosts

CONFIG = {"entities": ["Safe"]}


@pytest.fixture(scope="module")
def sentry() -> Iterator[Sentry]:
    with Sentry() as running:
        yield running


@pytest.fixture(scope="module")
def secured(sentry: Sentry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Placement]:
    with identified_placement(sentry, tmp_path_factory.mktemp("anchors")) as running:
        yield running


@pytest.fixture(scope="module")
def safe(sentry: Sentry, secured: Placement) -> Iterator[Host]:
    make = partial(identified, sentry)
    with host(secured.address, CONFIG, name="safe-host", make=make) as found:
        wait_hosts(secured, "Safe", 1)
        yield found


def test_a_remote_call_has_the_caller_of_the_certificate(
    sentry: Sentry, secured: Placement, safe: Host
) -> None:
    with client(secured.address, make=partial(identified, sentry)) as outside:
        answer = call_actor(
            outside, "Safe/1", "echo", headers={"Dapr-Caller-App-Id": safe.sidecar.app_id}
        )
        assert answer.status == 200
        headers = answer.json["headers"]
        assert headers["dapr-caller-app-id"] == outside.app_id
        assert headers["dapr-caller-namespace"] == "default"
        assert headers["x-dapr-remote"] == "true"


def test_other_namespaces_have_actors_of_their_own(
    sentry: Sentry, secured: Placement, safe: Host
) -> None:
    make = partial(identified, sentry, namespace="elsewhere")
    with client(secured.address, make=make) as outside:
        message = call_actor(outside, "Safe/1").json["message"]
        assert "did not find address for actor 'Safe/1'" in message


def test_a_placement_that_shows_no_identity_is_not_believed(sentry: Sentry) -> None:
    with (
        Placement() as plain,
        client(
            plain.address, make=partial(identified, sentry), ready="healthz/outbound"
        ) as outside,
    ):
        outside.wait_line("the stream to placement ended")
        assert runtime(outside)["placement"] == "placement: disconnected"
