"""The registration, when the API server does what a real one does not on demand."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from harness.authorities import Authority
from harness.fake_api_server import FakeApiServer, answer, events, failure, fake_api_server

from dapr_common.http.messages import Request, Response
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import CRDS, VALIDATING_WEBHOOKS
from dapr_common.kube.webhook_registration import ClientConfig, Place, WebhookRegistration
from dapr_common.security.x509 import write_certificates

OURS, OTHERS = (Authority.root(name).certificate for name in ("ours", "others"))
WEBHOOK = Place(VALIDATING_WEBHOOKS, "WebhookConfiguration", "checks", "/webhooks/0/clientConfig")
CRD = Place(CRDS, "CustomResourceDefinition", "subs", "/spec/conversion/webhook/clientConfig")
SYSTEM = "dapr-system"


def bundle(*certificates: Any) -> str:
    return base64.b64encode(write_certificates(certificates)).decode()


def registration(place: Place, ca_bundle: str, namespace: str) -> dict[str, Any]:
    config = {"caBundle": ca_bundle, "service": {"namespace": namespace}}
    metadata = {"name": place.name, "resourceVersion": "7"}
    if place is CRD:
        return {"metadata": metadata, "spec": {"conversion": {"webhook": {"clientConfig": config}}}}
    return {"metadata": metadata, "webhooks": [{"clientConfig": config}]}


class Registered:
    """A fake API server with one registration; ``refusals`` answer the next patches."""

    def __init__(
        self, fake: FakeApiServer, ca_bundle: str | None, place: Place, namespace: str
    ) -> None:
        self.place, self.namespace = place, namespace
        self.present = ca_bundle
        self.refusals: list[Response] = []
        self.patched: asyncio.Queue[str] = asyncio.Queue()
        self.namespaces: list[str] = []
        self.ready = asyncio.Queue[None]()
        fake.line.append(self._answer)

    def _answer(self, request: Request) -> Response:
        if request.method == "PATCH":
            if self.refusals:
                return self.refusals.pop(0)
            operation, *more = json.loads(request.body or b"")
            assert (operation["op"], operation["path"]) == ("add", f"{self.place.path}/caBundle")
            for other in more:
                assert other["path"] == f"{self.place.path}/service/namespace"
                self.namespaces.append(other["value"])
            self.patched.put_nowait(operation["value"])
            return answer({})
        if b"watch=true" in request.query:
            return events(hang=True)
        items = []
        if self.present is not None:
            items = [registration(self.place, self.present, self.namespace)]
        return answer({"metadata": {"resourceVersion": "7"}, "items": items})

    async def next_patch(self) -> str:
        async with asyncio.timeout(30):
            return await self.patched.get()

    def count(self) -> None:
        self.ready.put_nowait(None)


@asynccontextmanager
async def keeping(
    ca_bundle: str | None,
    prepare: Callable[[Registered], None] = lambda _: None,
    *,
    place: Place = WEBHOOK,
    namespace: str = "",
) -> AsyncIterator[tuple[Registered, WebhookRegistration]]:
    """The keeper of a registration; that of a CRD is told the Service's namespace."""
    async with fake_api_server() as fake, KubeClient(fake.login) as client:
        registered = Registered(fake, ca_bundle, place, namespace)
        prepare(registered)
        kept = SYSTEM if place is CRD else ""
        keeper = WebhookRegistration(client, place, registered.count, namespace=kept)
        task = asyncio.create_task(keeper.run())
        try:
            yield registered, keeper
        finally:
            task.cancel()
            await asyncio.wait([task])


async def listed(keeper: WebhookRegistration) -> None:
    async with asyncio.timeout(30):
        await keeper._informer.synced.wait()


async def test_what_is_published_is_written_exactly() -> None:
    async with keeping(bundle(OTHERS)) as (registered, keeper):
        keeper.publish((OURS,))
        assert await registered.next_patch() == bundle(OURS)
        keeper.publish((OURS, OTHERS))
        assert await registered.next_patch() == bundle(OURS, OTHERS)
        async with asyncio.timeout(30):
            await registered.ready.get()
            await registered.ready.get()


async def test_a_failure_is_tried_again() -> None:
    def prepare(registered: Registered) -> None:
        registered.refusals = [failure(500, "InternalError"), failure(503, "Busy")]

    async with keeping(bundle(OURS), prepare) as (registered, keeper):
        keeper.publish((OURS,))
        assert await registered.next_patch() == bundle(OURS)
        assert registered.refusals == []


async def test_others_who_trust_more_are_let_be() -> None:
    """An injector that knows the new anchors already must not be undone by one that does not."""
    async with keeping(bundle(OTHERS, OURS)) as (registered, keeper):
        keeper.publish((OURS,))
        await registered.next_patch()
        await listed(keeper)
        keeper._wake.set()
        await asyncio.sleep(0.1)
        assert registered.patched.empty()


async def test_what_lacks_our_anchors_gets_them_and_keeps_its_own() -> None:
    async with keeping(bundle(OTHERS)) as (registered, keeper):
        await listed(keeper)
        keeper.publish((OURS,))
        assert await registered.next_patch() == bundle(OURS)
        keeper._wake.set()  # the watch has not told of our patch: others' bundle is still there
        assert await registered.next_patch() == bundle(OURS, OTHERS)


async def test_nonsense_is_replaced() -> None:
    async with keeping("bm9uc2Vuc2U=") as (registered, keeper):
        keeper.publish((OURS,))
        await registered.next_patch()
        await listed(keeper)
        keeper._wake.set()
        assert await registered.next_patch() == bundle(OURS)


async def test_the_namespace_of_a_definition_is_filled_in() -> None:
    async with keeping("", place=CRD, namespace="replaceme") as (registered, keeper):
        keeper.publish((OURS,))
        assert await registered.next_patch() == bundle(OURS)
        await listed(keeper)
        keeper._wake.set()  # as after somebody has applied the shipped definition again
        assert await registered.next_patch() == bundle(OURS)
        assert registered.namespaces == [SYSTEM, SYSTEM]


async def test_a_definition_that_another_control_plane_has_taken_is_let_be(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with keeping(bundle(OTHERS), place=CRD, namespace="other") as (registered, keeper):
        await listed(keeper)
        keeper.publish((OURS,))
        assert await registered.next_patch() == bundle(OURS), "whoever comes last has it"
        for _ in range(3):
            keeper._wake.set()
            await asyncio.sleep(0.05)
        assert registered.patched.empty()
        assert caplog.text.count("in the care of another control plane now, in namespace") == 1


async def test_what_is_published_is_in_effect_a_moment_after_it_was_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dapr_common.kube.webhook_registration._SPREAD_SECONDS", 0.2)

    def prepare(registered: Registered) -> None:
        registered.refusals = [failure(500, "InternalError")]

    async with keeping(bundle(OTHERS), prepare) as (registered, keeper):
        keeper.publish((OURS,))
        effective = asyncio.create_task(keeper.in_effect())
        await registered.next_patch()
        written = asyncio.get_running_loop().time()
        assert not effective.done()
        async with asyncio.timeout(30):
            await effective
        assert asyncio.get_running_loop().time() - written > 0.15
        async with asyncio.timeout(0.1):
            await keeper.in_effect()


async def test_without_a_registration_nobody_has_to_be_waited_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dapr_common.kube.webhook_registration._SPREAD_SECONDS", 3600.0)

    def prepare(registered: Registered) -> None:
        registered.refusals = [failure(404, "NotFound")]

    async with keeping(None, prepare) as (registered, keeper):
        await listed(keeper)
        keeper.publish((OURS,))
        async with asyncio.timeout(30):
            await keeper.in_effect()
        assert "there is no WebhookConfiguration checks" in caplog.text
        assert registered.ready.empty()
        keeper._wake.set()  # as when it is made
        assert await registered.next_patch() == bundle(OURS)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"spec": None},
        {"spec": {"conversion": {"strategy": "None"}}},
        {"spec": {"conversion": {"webhook": {"clientConfig": {"url": "https://x"}}}}},
        {"webhooks": []},
    ],
)
def test_where_nothing_is(body: dict[str, Any]) -> None:
    assert ClientConfig.at(CRD.path, body) == ClientConfig("", "")
    assert ClientConfig.at(WEBHOOK.path, body) == ClientConfig("", "")
