"""The registration, when the API server does what a real one does not on demand."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from harness.fake_api_server import FakeApiServer, answer, events, failure, fake_api_server
from harness.identities import Authority

from dapr_common.http.messages import Request, Response
from dapr_common.kube.client import KubeClient
from dapr_common.security.x509 import write_certificates
from dapr_injector.webhook_configuration import NAME, WebhookConfiguration

OURS, OTHERS = (Authority.root(name).certificate for name in ("ours", "others"))


def bundle(*certificates: Any) -> str:
    return base64.b64encode(write_certificates(certificates)).decode()


def registration(ca_bundle: str) -> dict[str, Any]:
    return {
        "metadata": {"name": NAME, "resourceVersion": "7"},
        "webhooks": [{"clientConfig": {"caBundle": ca_bundle}}],
    }


class Registered:
    """A fake API server with one registration; ``refusals`` answer the next patches."""

    def __init__(self, fake: FakeApiServer, ca_bundle: str | None) -> None:
        self.present = ca_bundle
        self.refusals: list[Response] = []
        self.patched: asyncio.Queue[str] = asyncio.Queue()
        self.ready = 0
        fake.line.append(self._answer)

    def _answer(self, request: Request) -> Response:
        if request.method == "PATCH":
            if self.refusals:
                return self.refusals.pop(0)
            [operation] = json.loads(request.body or b"")
            assert operation["op"] == "add"
            assert operation["path"] == "/webhooks/0/clientConfig/caBundle"
            self.patched.put_nowait(operation["value"])
            return answer(registration(operation["value"]))
        if b"watch=true" in request.query:
            return events(hang=True)
        items = [] if self.present is None else [registration(self.present)]
        return answer({"metadata": {"resourceVersion": "7"}, "items": items})

    async def next_patch(self) -> str:
        async with asyncio.timeout(5):
            return await self.patched.get()

    def count(self) -> None:
        self.ready += 1


@asynccontextmanager
async def keeping(
    ca_bundle: str | None, prepare: Callable[[Registered], None] = lambda _: None
) -> AsyncIterator[tuple[Registered, WebhookConfiguration]]:
    async with fake_api_server() as fake, KubeClient(fake.login) as client:
        registered = Registered(fake, ca_bundle)
        prepare(registered)
        keeper = WebhookConfiguration(client, registered.count)
        task = asyncio.create_task(keeper.run())
        try:
            yield registered, keeper
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_what_is_published_is_written_exactly() -> None:
    async with keeping(bundle(OTHERS)) as (registered, keeper):
        keeper.publish((OURS,))
        assert await registered.next_patch() == bundle(OURS)
        keeper.publish((OURS, OTHERS))
        assert await registered.next_patch() == bundle(OURS, OTHERS)
        async with asyncio.timeout(5):
            while registered.ready < 2:
                await asyncio.sleep(0.01)


async def test_a_failure_is_tried_again() -> None:
    def prepare(registered: Registered) -> None:
        registered.refusals = [failure(500, "InternalError"), failure(404, "NotFound")]

    async with keeping(bundle(OURS), prepare) as (registered, keeper):
        keeper.publish((OURS,))
        assert await registered.next_patch() == bundle(OURS)
        assert registered.refusals == []


async def test_others_who_trust_more_are_let_be() -> None:
    """An injector that knows the new anchors already must not be undone by one that does not."""
    async with keeping(bundle(OTHERS, OURS)) as (registered, keeper):
        keeper.publish((OURS,))
        await registered.next_patch()
        async with asyncio.timeout(5):
            await keeper._informer.synced.wait()
        keeper._wake.set()
        await asyncio.sleep(0.1)
        assert registered.patched.empty()


async def test_what_lacks_our_anchors_gets_them_and_keeps_its_own() -> None:
    async with keeping(bundle(OTHERS)) as (registered, keeper):
        async with asyncio.timeout(5):
            await keeper._informer.synced.wait()
        keeper.publish((OURS,))
        assert await registered.next_patch() == bundle(OURS)
        keeper._wake.set()  # the watch has not told of our patch: others' bundle is still there
        assert await registered.next_patch() == bundle(OURS, OTHERS)


async def test_nonsense_is_replaced() -> None:
    async with keeping("bm9uc2Vuc2U=") as (registered, keeper):
        keeper.publish((OURS,))
        await registered.next_patch()
        async with asyncio.timeout(5):
            await keeper._informer.synced.wait()
        keeper._wake.set()
        assert await registered.next_patch() == bundle(OURS)
