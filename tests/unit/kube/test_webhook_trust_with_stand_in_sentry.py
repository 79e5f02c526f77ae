"""Whom callers are told to trust, and when a new certificate is used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from harness.authorities import Authority
from harness.stand_in_sentry import SENTRY, Events, Said, StandInSentry

from dapr_common.kube.webhook_trust import Callers, WebhookTrust
from dapr_common.security.control_plane import identity_request
from dapr_common.security.x509 import write_certificates

OPERATOR = "spiffe://localhost/ns/default/dapr-operator"
OLD, NEW, NEWER = (Authority.root(name).certificate for name in ("old", "new", "newer"))


def test_anchors_that_went_stay_until_the_second_renewal() -> None:
    callers = Callers().renewed((OLD,))
    assert callers.bundle == (OLD,)
    callers = callers.changed((NEW,))
    assert callers.bundle == (NEW, OLD)
    callers = callers.renewed((NEW,))
    assert callers.bundle == (NEW, OLD), "another replica's certificate may be of the old ones"
    assert callers.renewed((NEW,)).bundle == (NEW,)


def test_the_same_anchors_again_are_no_change() -> None:
    callers = Callers().renewed((OLD,))
    assert callers.changed((OLD,)) == callers


def test_a_second_change_before_the_first_is_over() -> None:
    callers = Callers().renewed((OLD,)).changed((NEW,)).renewed((NEWER,))
    assert callers.bundle == (NEWER, NEW, OLD)
    assert callers.changed((OLD,)).bundle == (OLD, NEWER, NEW)


class Registered:
    """Stands for a registration: what was published, in effect when the test says so."""

    def __init__(self) -> None:
        self.published: asyncio.Queue[tuple[x509.Certificate, ...]] = asyncio.Queue()
        self.effective = asyncio.Event()
        self.waited_for = asyncio.Event()

    def publish(self, anchors: tuple[x509.Certificate, ...]) -> None:
        self.published.put_nowait(anchors)

    async def in_effect(self) -> None:
        self.waited_for.set()
        await self.effective.wait()

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def next(self) -> tuple[x509.Certificate, ...]:
        async with asyncio.timeout(30):
            return await self.published.get()


class Served:
    """A running identity with one registration, and the sentry it is from."""

    def __init__(self, sentry: StandInSentry, file: Path) -> None:
        self.sentry, self.file, self.events = sentry, file, Events()
        self.registered = Registered()
        request = identity_request(
            "operator",
            {},
            trust_domain="localhost",
            sentry_address=sentry.address,
            in_cluster=False,
        )
        registered: Any = self.registered
        self.trust = WebhookTrust(request, file, [registered], self.events)

    def change_sentry(self, authority: Authority) -> None:
        """An authority that has nothing in common with the one of before."""
        self.sentry.issuer = authority.intermediate()
        self.sentry.anchors = (authority.certificate,)
        self.sentry.contexts.install(self.sentry.issuer.svid(SENTRY))

    def write(self, *anchors: x509.Certificate) -> None:
        fresh = self.file.with_name("new")
        fresh.write_bytes(write_certificates(anchors))
        fresh.rename(self.file)

    async def until_served_by(self, authority: Authority) -> None:
        async with asyncio.timeout(30):
            while not _is_of(self.trust, authority):
                await asyncio.sleep(0.01)


def _is_of(trust: WebhookTrust, authority: Authority) -> bool:
    return trust.svid.chain[-1].issuer == authority.certificate.subject


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    sentry = StandInSentry()
    sentry.uri = OPERATOR
    file = tmp_path / "ca.crt"
    async with sentry.serving(0):
        made = Served(sentry, file)
        made.write(sentry.issuer.top())
        await made.trust.start()
        running = asyncio.create_task(made.trust.run())
        try:
            yield made
        finally:
            running.cancel()
            await asyncio.wait([running])


async def test_callers_are_told_at_the_start(served: Served) -> None:
    assert await served.registered.next() == (served.sentry.issuer.top(),)
    assert served.events.first == [""]
    assert served.trust.anchors_pem.encode() == served.file.read_bytes()


async def test_all_new_anchors_in_the_file(served: Served) -> None:
    """The certificate is renewed at once, and used when callers have heard of its authority."""
    old, new = await served.registered.next(), Authority.root("all new")
    served.change_sentry(new)
    served.write(new.certificate)
    assert await served.registered.next() == (new.certificate, *old)
    async with asyncio.timeout(30):
        await served.registered.waited_for.wait()
    assert not _is_of(served.trust, new), "callers do not trust it yet"
    served.registered.effective.set()
    await served.until_served_by(new)
    assert served.events.later == [""]
    assert served.registered.published.empty(), "both stay for a while"


async def test_all_new_anchors_that_come_with_a_certificate(served: Served) -> None:
    """Sentry is ahead of the file: who sent them was checked against the anchors of before."""
    old, new = await served.registered.next(), Authority.root("all new")
    served.sentry.issuer, served.sentry.anchors = new.intermediate(), (new.certificate,)
    served.trust._identity.source.renew()
    assert await served.registered.next() == (new.certificate, *old)
    assert not _is_of(served.trust, new)
    served.registered.effective.set()
    await served.until_served_by(new)
    assert served.trust.svid.anchors == (new.certificate,)


async def test_a_cluster_that_cannot_be_told_does_not_keep_a_certificate_waiting_for_ever(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dapr_common.kube.webhook_trust._ANNOUNCE_SECONDS", 0.1)
    before = served.trust.svid
    said = Said("before the API server is told whom to trust")
    caplog.handler.addFilter(said)
    served.trust._identity.source.renew()
    async with asyncio.timeout(30):
        await said.event.wait()
        while served.trust.svid is before:
            await asyncio.sleep(0.01)
    caplog.handler.removeFilter(said)
