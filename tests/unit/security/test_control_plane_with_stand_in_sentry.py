"""Control plane programs: what they ask for, and trust anchors that come late or change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from harness.authorities import Authority
from harness.stand_in_sentry import SENTRY, Events, Said, StandInSentry

from dapr_common.security.control_plane import ControlPlaneIdentity, identity_request
from dapr_common.security.errors import SecuritySettingsError
from dapr_common.security.source import BeforeUse
from dapr_common.security.svid import Svid
from dapr_common.security.x509 import verify_chain, write_certificates
from dapr_common.wire.dapr.proto.sentry.v1 import sentry_pb2 as pb

OPERATOR = "spiffe://localhost/ns/default/dapr-operator"


@pytest.fixture
async def sentry() -> AsyncIterator[StandInSentry]:
    made = StandInSentry()
    made.uri = OPERATOR
    async with made.serving(0):
        yield made


def operator(
    sentry: StandInSentry,
    anchors: Path,
    changes: asyncio.Queue[bytes] | None = None,
    before_use: BeforeUse | None = None,
) -> ControlPlaneIdentity:
    request = identity_request(
        "operator", {}, trust_domain="localhost", sentry_address=sentry.address, in_cluster=False
    )
    changed = None if changes is None else changes.put_nowait
    return ControlPlaneIdentity(request, anchors, Events(), changed, before_use)


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
    for named, domain in (("dapr-operator", "cluster.local"), ("other", "")):
        environment["SENTRY_LOCAL_IDENTITY"] = named
        request = identity_request(
            "placement",
            environment,
            trust_domain="cluster.local",
            sentry_address="",
            in_cluster=True,
        )
        assert (request.app_id, request.trust_domain) == (named, domain)
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


# --- anchors that leave the certificate behind --------------------------------------------------


def put(file: Path, *anchors: x509.Certificate) -> None:
    """As a mounted ConfigMap changes."""
    fresh = file.with_name("new")
    fresh.write_bytes(write_certificates(anchors))
    fresh.rename(file)


def all_new(sentry: StandInSentry) -> Authority:
    """Another authority for sentry, which has nothing in common with the one of before."""
    root = Authority.root("all new")
    sentry.issuer, sentry.anchors = root.intermediate(), (root.certificate,)
    sentry.contexts.install(sentry.issuer.svid(SENTRY))
    return root


@asynccontextmanager
async def running(made: ControlPlaneIdentity) -> AsyncIterator[None]:
    await made.start()
    task = asyncio.create_task(made.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until_covered(made: ControlPlaneIdentity, root: Authority) -> None:
    async with asyncio.timeout(20):
        while made.source.svid.chain[-1].issuer != root.certificate.subject:
            await asyncio.sleep(0.01)
    verify_chain(made.source.svid.chain, [root.certificate], datetime.now(UTC))


async def test_a_certificate_of_none_of_the_new_anchors_is_renewed_at_once(
    sentry: StandInSentry, tmp_path: Path
) -> None:
    file = tmp_path / "ca.crt"
    put(file, *sentry.anchors)
    made = operator(sentry, file)
    async with running(made):
        root = all_new(sentry)
        put(file, root.certificate)
        await until_covered(made, root)
        assert len(sentry.requests) == 2


async def test_a_certificate_that_new_anchors_cover_is_kept(
    sentry: StandInSentry, tmp_path: Path
) -> None:
    file = tmp_path / "ca.crt"
    put(file, *sentry.anchors)
    changes: asyncio.Queue[bytes] = asyncio.Queue()
    made = operator(sentry, file, changes)
    async with running(made):
        await changes.get()
        put(file, Authority.root("other").certificate, *sentry.anchors)
        await changes.get()
        await asyncio.sleep(0.1)
        assert len(sentry.requests) == 1


async def test_a_sentry_that_is_behind_the_file_is_asked_again(
    sentry: StandInSentry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("dapr_common.security.source._RETRY_SECONDS", 0.1)
    file = tmp_path / "ca.crt"
    put(file, *sentry.anchors)
    made = operator(sentry, file)
    async with running(made):
        root = Authority.root("all new")
        said = Said("the identity could not be renewed")
        caplog.handler.addFilter(said)
        put(file, root.certificate)
        async with asyncio.timeout(20):
            await said.event.wait()
        caplog.handler.removeFilter(said)
        sentry.issuer, sentry.anchors = root.intermediate(), (root.certificate,)
        sentry.contexts.install(sentry.issuer.svid(SENTRY))
        await until_covered(made, root)


async def test_others_are_told_before_a_certificate_is_used(
    sentry: StandInSentry, tmp_path: Path
) -> None:
    """And anchors that come in the file meanwhile are not undone by those of the certificate."""
    file = tmp_path / "ca.crt"
    put(file, *sentry.anchors)
    told: asyncio.Queue[Svid] = asyncio.Queue()
    go = asyncio.Event()

    async def before_use(svid: Svid) -> None:
        told.put_nowait(svid)
        await go.wait()

    changes: asyncio.Queue[bytes] = asyncio.Queue()
    made = operator(sentry, file, changes, before_use)
    async with running(made):
        assert told.empty(), "nobody has met the first"
        await changes.get()
        first = made.source.svid.chain
        made.source.renew()
        second = await told.get()
        other = Authority.root("other").certificate
        put(file, *sentry.anchors, other)
        await changes.get()
        assert made.source.svid.chain == first
        go.set()
        async with asyncio.timeout(20):
            while made.source.svid.chain == first:
                await asyncio.sleep(0.01)
        assert made.source.svid.chain == second.chain
        assert made.source.svid.anchors == (*sentry.anchors, other)
