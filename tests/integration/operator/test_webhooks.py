"""What ``kubectl apply`` meets: a real API server that asks a real operator."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from harness.apiserver import ApiServer
from harness.authorities import now
from harness.kube_cluster import Cluster
from harness.operator_process import Operator
from harness.operator_webhooks import (
    SUBSCRIPTIONS,
    SUBSCRIPTIONS_V1,
    ControlPlane,
    kind_of,
    resource,
    wrong_subscription,
)
from harness.programs import free_port

from dapr_common.kube.api_errors import ApiError
from dapr_common.kube.conversion import RULES
from dapr_common.kube.kinds import KubeObject
from dapr_common.kube.validation.review import SWITCH
from dapr_common.security.authority import Life, new_bundle
from dapr_common.security.rotation import rotated

MANIFESTS = Path(__file__).parents[2] / "data" / "manifests"
USELESS = {"oauth2", "access"}
"""Manifests that show what a definition takes; a sidecar would not start with them."""
ROUTES = {"rules": [{"match": 'event.type == "a"', "path": "/a"}], "default": "/o"}


@pytest.fixture
async def plane(kube: ApiServer) -> AsyncIterator[ControlPlane]:
    cluster = Cluster(kube)
    async with cluster.client, ControlPlane.make(cluster) as made:
        yield made


@pytest.fixture
async def operator(plane: ControlPlane) -> AsyncIterator[Operator]:
    async with plane.operator() as running:
        await plane.until_asked()
        yield running


# --- conversion ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("operator")
async def test_an_old_subscription_is_read_as_a_new_one(plane: ControlPlane) -> None:
    spec = {"pubsubname": "p", "topic": "t", "route": "/o", "deadLetterTopic": "d"}
    body = {**resource("Subscription", "old", spec), "scopes": ["orders"]}
    made = await plane.apply(body)
    assert made["spec"]["route"] == "/o"
    new = await plane.cluster.client.get(SUBSCRIPTIONS, "old", plane.apps)
    assert new["apiVersion"] == "dapr.io/v2alpha1"
    rest = {name: value for name, value in spec.items() if name != "route"}
    assert new["spec"] == {**rest, "routes": {"default": "/o"}}
    assert new["scopes"] == ["orders"]


@pytest.mark.usefixtures("operator")
async def test_a_new_subscription_keeps_its_rules_on_the_way_through_the_old_version(
    plane: ControlPlane,
) -> None:
    spec = {"pubsubname": "p", "topic": "t", "routes": ROUTES}
    await plane.apply(resource("Subscription", "new", spec, "v2alpha1"))
    client = plane.cluster.client
    old = await client.get(SUBSCRIPTIONS_V1, "new", plane.apps)
    assert (old["spec"]["route"], "routes" in old["spec"]) == ("/o", False)
    old["spec"]["topic"] = "other"
    await client.update(SUBSCRIPTIONS_V1, old)
    new = await client.get(SUBSCRIPTIONS, "new", plane.apps)
    assert new["spec"] == {"pubsubname": "p", "topic": "other", "routes": ROUTES}
    assert RULES not in new["metadata"].get("annotations", {})


# --- validation ---------------------------------------------------------------------------------


def component(type_name: str, version: str = "v1", **entries: str) -> KubeObject:
    metadata = [{"name": name, "value": value} for name, value in entries.items()]
    spec = {"type": type_name, "version": version, "metadata": metadata}
    return resource("Component", "wrong", spec)


def configuration(**spec: Any) -> KubeObject:
    return resource("Configuration", "wrong", spec)


def resiliency(policies: Any, **targets: Any) -> KubeObject:
    return resource("Resiliency", "wrong", {"policies": policies, "targets": targets})


def subscription(match: str) -> KubeObject:
    routes = {"rules": [{"match": match, "path": "/a"}]}
    spec = {"pubsubname": "p", "topic": "t", "routes": routes}
    return resource("Subscription", "wrong", spec, "v2alpha1")


WRONG = {
    "spec.type: unknown type": component("state.rediss", redisHost="r:6379"),
    "spec.version: state.redis has no version": component("state.redis", "v9", redisHost="r"),
    "spec.metadata: redisHost is required": component("state.redis"),
    'spec.metadata[0].name: "redisHots" is unknown to state.redis, did you mean "redisHost"?': (
        component("state.redis", redisHots="r:6379")
    ),
    "spec.metadata[1].value: dialTimeout": (
        component("state.redis", redisHost="r:6379", dialTimeout="soon")
    ),
    "spec.tracing.samplingRate": configuration(tracing={"samplingRate": "2"}),
    "spec.httpPipeline.handlers[0].type": configuration(
        httpPipeline={"handlers": [{"name": "a", "type": "middleware.http.bearrer"}]}
    ),
    "spec.accessControl.defaultAction": configuration(accessControl={"defaultAction": "perhaps"}),
    'spec.api.allowed[0].name: there is no API "stat", did you mean "state"?': configuration(
        api={"allowed": [{"name": "stat", "version": "v1", "protocol": "http"}]}
    ),
    "spec.targets.apps.a.timeout: there is no policy": resiliency({}, apps={"a": {"timeout": "t"}}),
    "spec.policies.timeouts.t": resiliency({"timeouts": {"t": "soon"}}),
    "spec.policies.circuitBreakers.c": resiliency(
        {"circuitBreakers": {"c": {"maxRequests": 1, "timeout": "5s", "trip": "failures >"}}}
    ),
    "spec.routes.rules[0].match": subscription("size(event.data) >"),
    "spec.topic: is required": wrong_subscription("wrong"),
    "spec.baseUrl": resource("HTTPEndpoint", "wrong", {"baseUrl": "nowhere"}),
}


@pytest.mark.usefixtures("operator")
async def test_what_is_wrong_in_meaning_is_refused_with_the_field(plane: ControlPlane) -> None:
    said = {field: await plane.refusal(body) for field, body in WRONG.items()}
    assert {field: text for field, text in said.items() if field not in text} == {}
    for body in WRONG.values():
        with pytest.raises(ApiError) as caught:
            await plane.apply(body)
        assert caught.value.status == 422
        # The same with the annotation that lets it in: it is the checks that refuse it.
        body["metadata"]["annotations"] = {SWITCH: "warn"}
        await plane.apply(body)
        await plane.delete(kind_of(body), "wrong")
        del body["metadata"]["annotations"]


@pytest.mark.usefixtures("operator")
async def test_what_is_right_is_taken(plane: ControlPlane) -> None:
    count = 0
    for path in sorted(MANIFESTS.glob("*.yaml")):
        for body in yaml.safe_load_all(path.read_text()):
            refused = await plane.refusal(body)
            useless = body["metadata"]["name"] in USELESS
            assert ("cannot be used by a sidecar" in refused) if useless else not refused, body
            count += 1
    assert count > 20


@pytest.mark.usefixtures("operator")
async def test_policies_may_come_in_the_same_breath(plane: ControlPlane) -> None:
    """A sidecar merges all Resiliencies; the operator's own view of them is a moment behind."""
    for number in range(20):
        policies = {"timeouts": {f"t{number}": "5s"}}
        targets = {"apps": {"a": {"timeout": f"t{number}"}}}
        await plane.apply(
            resource("Resiliency", f"policies-{number}", {"policies": policies, "targets": {}})
        )
        spec = {"policies": {}, "targets": targets}
        await plane.apply(resource("Resiliency", f"targets-{number}", spec))


async def test_without_an_operator_everything_is_let_in(plane: ControlPlane) -> None:
    async with plane.operator():
        await plane.until_asked()
    body = component("state.rediss", redisHost="r:6379")
    assert await plane.refusal(body) == ""
    async with plane.operator():
        await plane.until_asked()
        body["spec"]["version"] = "v2"
        assert "spec.type: unknown type" in await plane.refusal(body)
        body["spec"] = component("state.redis", redisHost="r:6379")["spec"]
        assert await plane.refusal(body) == "", "it can be mended"


async def test_every_replica_answers(plane: ControlPlane, operator: Operator) -> None:
    other = plane.operator(webhook_port=free_port())
    async with other:
        await asyncio.to_thread(operator.wait_line, "This operator leads")
        assert "This operator leads" not in other.log
        [config, _] = await plane.client_configs()
        port = int(next(one for one in other.command if "webhook" in one).partition("=")[2])
        await plane.handshake(config["caBundle"], port)


@pytest.mark.slow
async def test_five_hundred_components_a_hundred_at_once(
    plane: ControlPlane, operator: Operator
) -> None:
    """The API server waits 5 s for each answer, then lets in what it asked about."""
    some = asyncio.Semaphore(100)
    good = component("state.redis", redisHost="r:6379")
    bad = component("state.redis", redisHots="r:6379")

    async def one(number: int) -> str:
        body = bad if number % 5 == 0 else good
        async with some:
            return await plane.refusal({**body, "metadata": {"name": f"store-{number}"}})

    async with asyncio.timeout(120):
        said = await asyncio.gather(*map(one, range(500)))
    assert [bool(text) for text in said] == [number % 5 == 0 for number in range(500)]
    assert operator.health() == 200


# --- registration -------------------------------------------------------------------------------


@pytest.mark.usefixtures("operator")
async def test_what_is_reset_is_mended(plane: ControlPlane) -> None:
    anchors = plane.bundle.anchors_pem
    await plane.until_registered(anchors)
    await plane.reset_definition()
    await plane.reset_validation()
    await plane.until_registered(anchors)
    await plane.until_asked()


class Applying:
    """Applies what needs a conversion and what must be refused, over and over, until it is left.

    And before each, a handshake as of an API server that has just read whom to trust.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.rounds = 0
        self._left = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._left.set()
        await self._task

    async def _run(self) -> None:
        plane = self.plane
        while not self._left.is_set():
            for config in await plane.client_configs():
                await plane.handshake(config["caBundle"])
            spec = {"pubsubname": "p", "topic": f"t{self.rounds}", "route": "/o"}
            await plane.apply(resource("Subscription", "rotating", spec))
            refused = await plane.refusal(component("state.rediss"))
            assert "spec.type" in refused, "the API server did not ask, and let it in"
            self.rounds += 1

    async def rounds_more(self, count: int) -> None:
        wanted = self.rounds + count
        async with asyncio.timeout(60):
            while self.rounds < wanted and not self._task.done():
                await asyncio.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("old_is_kept", [True, False], ids=["bridged", "all-new"])
async def test_nothing_fails_while_the_root_rotates(kube: ApiServer, old_is_kept: bool) -> None:
    cluster = Cluster(kube)
    mtls = {"workloadCertTTL": "20s", "allowedClockSkew": "1s"}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(cluster.client)
        plane = await stack.enter_async_context(ControlPlane.make(cluster, mtls))
        operator = await stack.enter_async_context(plane.operator())
        await plane.until_asked()
        applying = await stack.enter_async_context(Applying(plane))
        await applying.rounds_more(5)
        before, life = plane.bundle, Life.of(now())
        await plane.rotate(
            rotated(before, now(), life)
            if old_is_kept
            else new_bundle("cluster.local", plane.namespace, life)
        )
        # The second certificate after the change ends what was kept of the time before it.
        seen = len([line for line in operator.lines if "is valid until" in line])
        rounds = applying.rounds
        await asyncio.to_thread(operator.wait_lines, "is valid until", seen + 3, 80)
        await plane.until_registered(plane.bundle.anchors_pem)
        assert applying.rounds > rounds, "they went on meanwhile"
        await applying.rounds_more(10)


async def test_an_all_new_root_is_served_within_seconds(
    plane: ControlPlane, operator: Operator
) -> None:
    """Half the life of a certificate is not waited for: here that would be twelve hours."""
    async with Applying(plane) as applying:
        await applying.rounds_more(3)
        await plane.rotate(new_bundle("cluster.local", plane.namespace, Life.of(now())))
        await asyncio.to_thread(operator.wait_line, "is of none of the new trust anchors")
        pem = base64.b64encode(plane.bundle.anchors_pem).decode()
        async with asyncio.timeout(40):
            while not await _is_served(plane, pem):
                await asyncio.sleep(0.1)
        await applying.rounds_more(5)


async def _is_served(plane: ControlPlane, ca_bundle: str) -> bool:
    try:
        await plane.handshake(ca_bundle)
    except ssl.SSLError:
        return False
    return True


async def test_what_no_review_is(plane: ControlPlane, operator: Operator) -> None:
    [config, _] = await plane.client_configs()
    pem = base64.b64decode(config["caBundle"]).decode()
    tls = ssl.create_default_context(cadata=pem)
    name = f"dapr-webhook.{plane.namespace}.svc"
    for path, status in (("/validate", 400), ("/convert", 400), ("/mutate", 404)):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", plane.port, ssl=tls, server_hostname=name
        )
        lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json"]
        writer.write("\r\n".join([*lines, "Content-Length: 2", "", "{}"]).encode())
        assert (await reader.readline()).split()[1] == str(status).encode()
        writer.close()
        await writer.wait_closed()
    assert operator.health() == 200
