"""Control plane programs: what they ask for, and trust anchors that come late or change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from harness.identities import Authority
from harness.stand_in_sentry import SENTRY, Events, Said, StandInSentry

from dapr_common.security.control_plane import ControlPlaneIdentity, identity_request
from dapr_common.security.errors import SecuritySettingsError
from dapr_common.security.x509 import write_certificates
from dapr_common.wire.dapr.proto.sentry.v1 import sentry_pb2 as pb

OPERATOR = "spiffe://localhost/ns/default/dapr-operator"


@pytest.fixture
async def sentry() -> AsyncIterator[StandInSentry]:
    made = StandInSentry()
    made.uri = OPERATOR
    async with made.serving(0):
        yield made


def operator(
    sentry: StandInSentry, anchors: Path, changes: asyncio.Queue[bytes] | None = None
) -> ControlPlaneIdentity:
    request = identity_request(
        "operator", {}, trust_domain="localhost", sentry_address=sentry.address, in_cluster=False
    )
    changed = None if changes is None else changes.put_nowait
    return ControlPlaneIdentity(request, anchors, Events(), changed)


def test_what_is_asked_for(tmp_path: Path) -> None:
    token = tmp_path / "token"
    environment = {"NAMESPACE": "dapr-system", "DAPR_SENTRY_TOKEN_FILE": str(token)}
    request = identity_request(
        "placement", environment, trust_domain="cluster.local", sentry_address="", in_cluster=True
    )
    assert request.app_id == "dapr-placement"
    assert (request.namespace, request.trust_domain) == ("dapr-system", "cluster.local")
    assert request.sentry_address == "dapr-sentry.dapr-system.svc:443"
    assert str(request.sentry_id) == "spiffe://cluster.local/ns/dapr-system/dapr-sentry"
    assert request.validator == pb.SignCertificateRequest.KUBERNETES
    assert request.token_file == token
    with pytest.raises(SecuritySettingsError, match="trust domain or NAMESPACE"):
        identity_request("x", {}, trust_domain="A B", sentry_address="", in_cluster=False)


async def test_the_anchors_are_waited_for(
    sentry: StandInSentry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "ca.crt"
    made = operator(sentry, file)
    said = Said("Waiting for the trust anchors")
    caplog.handler.addFilter(said)
    starting = asyncio.create_task(made.start())
    await said.event.wait()
    caplog.handler.removeFilter(said)
    file.write_bytes(write_certificates(sentry.anchors))
    await starting
    assert str(made.source.svid.id) == OPERATOR
    assert sentry.requests[0].trust_domain == "localhost"
    assert SENTRY.endswith("dapr-sentry")


async def test_a_file_without_certificates_ends_the_start(
    sentry: StandInSentry, tmp_path: Path
) -> None:
    file = tmp_path / "ca.crt"
    file.write_text("nothing")
    with pytest.raises(SecuritySettingsError, match=r"ca\.crt: no certificates"):
        await operator(sentry, file).start()


async def test_anchors_that_change_are_taken_over_and_broken_ones_are_not(
    sentry: StandInSentry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "ca.crt"
    first = write_certificates(sentry.anchors)
    file.write_bytes(first)
    changes: asyncio.Queue[bytes] = asyncio.Queue()
    made = operator(sentry, file, changes)
    await made.start()
    assert await changes.get() == first
    running = asyncio.create_task(made.run())
    other = Authority.root("other").certificate

    both = write_certificates((*sentry.anchors, other))
    replacement = tmp_path / "new"
    replacement.write_bytes(both)
    replacement.rename(file)  # as a mounted ConfigMap changes: by a rename
    assert await changes.get() == both
    assert made.source.svid.anchors == (*sentry.anchors, other)

    said = Said("is not taken over, the trust anchors stay")
    caplog.handler.addFilter(said)
    file.write_text("broken")
    await said.event.wait()
    caplog.handler.removeFilter(said)
    assert made.source.svid.anchors == (*sentry.anchors, other)
    file.unlink()
    file.write_bytes(first)
    assert await changes.get() == first
    running.cancel()
