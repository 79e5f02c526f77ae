"""Policies that the operator has not heard of yet; objects too large to be judged in passing."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from harness.authorities import Authority
from harness.fake_api_server import FakeApiServer, failure, fake_api_server, listing

from dapr_common.kube.client import KubeClient
from dapr_common.observe.metrics import Registry
from dapr_common.security.tls import TlsContexts
from dapr_common.security.x509 import write_certificates
from dapr_operator.cache import Cache
from dapr_operator.metrics import OperatorMetrics
from dapr_operator.settings import WebhookSettings
from dapr_operator.webhooks import Webhooks

OPERATOR = "spiffe://cluster.local/ns/dapr-system/dapr-operator"
POLICIES = {
    "metadata": {"name": "policies", "namespace": "shop", "resourceVersion": "1"},
    "spec": {"policies": {"timeouts": {"fast": "1s"}}, "targets": {}},
}


def resource(kind: str, spec: Any, version: str = "v1alpha1") -> dict[str, Any]:
    return {
        "apiVersion": f"dapr.io/{version}",
        "kind": kind,
        "metadata": {"name": "it"},
        "spec": spec,
    }


def targets(timeout: str) -> dict[str, Any]:
    return resource(
        "Resiliency", {"policies": {}, "targets": {"apps": {"a": {"timeout": timeout}}}}
    )


class Asked:
    """The webhooks over TLS, with a cache that knows nothing yet."""

    def __init__(self, authority: Authority, port: int, registry: Registry) -> None:
        self.registry = registry
        pem = write_certificates([authority.certificate]).decode()
        self._tls = ssl.create_default_context(cadata=pem)
        self._tls.check_hostname = False
        self._port = port

    async def post(self, path: str, body: Any) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls)
        try:
            raw = json.dumps(body).encode()
            lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json"]
            head = "\r\n".join([*lines, f"Content-Length: {len(raw)}", "", ""])
            writer.write(head.encode() + raw)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r")[0])
            return int(head.split()[1]), await reader.readexactly(length)
        finally:
            writer.close()
            await writer.wait_closed()

    async def refusal(self, body: Any) -> str:
        """What is said against an object; empty when it is allowed."""
        request = {"uid": "u", "namespace": "shop", "operation": "CREATE", "object": body}
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
        status, raw = await self.post("/validate", review | {"request": request})
        assert status == 200
        response = json.loads(raw)["response"]
        return "" if response["allowed"] else str(response["status"]["message"])


@asynccontextmanager
async def asking() -> AsyncIterator[tuple[Asked, FakeApiServer]]:
    authority, contexts = Authority.root(), TlsContexts()
    contexts.install(authority.svid(OPERATOR))
    async with fake_api_server() as fake, KubeClient(fake.login) as client:
        settings = WebhookSettings(port=0, listen_address="127.0.0.1")
        registry = Registry()
        metrics = OperatorMetrics(registry)
        webhooks = Webhooks(settings, "dapr-system", client, Cache(client), metrics, lambda: None)
        try:
            yield Asked(authority, await webhooks.open(contexts), registry), fake
        finally:
            await webhooks.close()


@pytest.fixture
async def asked() -> AsyncIterator[tuple[Asked, FakeApiServer]]:
    async with asking() as found:
        yield found


async def test_a_policy_that_came_a_moment_ago(asked: tuple[Asked, FakeApiServer]) -> None:
    webhooks, fake = asked
    fake.line.append(listing(7, POLICIES))
    assert await webhooks.refusal(targets("fast")) == ""
    assert 'there is no policy "fats"' in await webhooks.refusal(targets("fats"))
    assert {path for _, path, _ in fake.asked} == {
        "/apis/dapr.io/v1alpha1/namespaces/shop/resiliencies"
    }


async def test_a_cluster_that_cannot_be_asked_for_policies(
    asked: tuple[Asked, FakeApiServer], caplog: pytest.LogCaptureFixture
) -> None:
    webhooks, fake = asked
    fake.line.append(failure(500, "InternalError"))
    assert 'there is no policy "fast"' in await webhooks.refusal(targets("fast"))
    assert "Policies of namespace shop may be out of date" in caplog.text


async def test_what_needs_no_other_object_asks_for_none(
    asked: tuple[Asked, FakeApiServer],
) -> None:
    webhooks, fake = asked
    assert "spec.type" in await webhooks.refusal(resource("Component", {"type": "state.rediss"}))
    assert fake.asked == []


async def test_refusals_are_counted_by_kind_and_reason(
    asked: tuple[Asked, FakeApiServer],
) -> None:
    webhooks, fake = asked
    fake.line.append(listing(7))
    fine = resource("Component", {"type": "state.in-memory"})
    twice = resource("Component", {"type": "state.rediss"})
    missing = resource("Subscription", {"topic": "t", "route": "/t"})
    for body in (fine, twice, twice, missing, targets("none")):
        await webhooks.refusal(body)
    lines = webhooks.registry.render().decode().splitlines()
    name = "dapr_operator_admission_refused_total"
    assert sorted(line for line in lines if line.startswith(name)) == [
        name + '{kind="Component",reason="FieldValueNotSupported"} 2',
        name + '{kind="Resiliency",reason="FieldValueNotFound"} 1',
        name + '{kind="Subscription",reason="FieldValueRequired"} 1',
    ]


async def test_others_are_answered_while_a_large_object_is_judged(
    asked: tuple[Asked, FakeApiServer],
) -> None:
    webhooks, _ = asked
    rule = "size(event.data) > 1 || event.type == 'a'"
    rules = [{"match": f"{rule} || event.id == '{n}'", "path": "/"} for n in range(5000)]
    spec = {"pubsubname": "p", "topic": "t", "routes": {"rules": rules}}
    large = asyncio.create_task(webhooks.refusal(resource("Subscription", spec, "v2alpha1")))
    answered = 0
    while not large.done():
        assert await webhooks.refusal(resource("Component", {"type": "state.in-memory"})) == ""
        answered += 1
    assert await large == ""
    assert answered > 3


async def test_old_subscriptions_are_converted_all_at_once(
    asked: tuple[Asked, FakeApiServer],
) -> None:
    webhooks, _ = asked
    spec = {"pubsubname": "p", "topic": "t" * 10_000, "route": "/o"}
    objects = [resource("Subscription", spec)] * 1000
    request = {"uid": "u", "desiredAPIVersion": "dapr.io/v2alpha1", "objects": objects}
    review = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview"}
    status, raw = await webhooks.post("/convert", review | {"request": request})
    converted = json.loads(raw)["response"]["convertedObjects"]
    assert (status, len(converted)) == (200, 1000)
    assert converted[-1]["spec"]["routes"] == {"default": "/o"}


@pytest.mark.parametrize("path", ["/validate", "/convert"])
async def test_what_is_no_review(asked: tuple[Asked, FakeApiServer], path: str) -> None:
    webhooks, _ = asked
    status, text = await webhooks.post(path, {"kind": "Pod"})
    assert status == 400
    assert b"the body is no" in text
