"""Real tokens of real pods, and everything that is wrong with others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from harness.kube_cluster import Cluster

from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import CONFIGURATIONS
from dapr_common.kube.login import kubeconfig_login
from dapr_common.wire.dapr.proto.sentry.v1.sentry_pb2 import SignCertificateRequest
from dapr_sentry.validators.base import ValidationError
from dapr_sentry.validators.kubernetes import KubernetesValidator

TRUST_DOMAIN = "cluster.local"


@dataclass
class Place:
    """A validator of a control plane namespace, and a namespace of applications."""

    cluster: Cluster
    validator: KubernetesValidator
    namespace: str
    apps: str

    @property
    def audience(self) -> str:
        return f"spiffe://{TRUST_DOMAIN}/ns/{self.namespace}/dapr-sentry"

    async def token(
        self,
        pod: str = "orders-1",
        *,
        namespace: str = "",
        audience: str = "",
        **annotations: str,
    ) -> str:
        """The token of a new pod."""
        namespace = namespace or self.apps
        named = {f"dapr.io/{name.replace('_', '-')}": text for name, text in annotations.items()}
        made = await self.cluster.pod(namespace, pod, "app", named)
        return await self.cluster.token(namespace, "app", [audience or self.audience], made)

    async def validate(self, token: str, app_id: str, namespace: str = "") -> str:
        request = SignCertificateRequest(
            id=app_id,
            namespace=namespace or self.apps,
            token=token,
            trust_domain="ignored.example",
            certificate_signing_request=b"csr",
        )
        return await asyncio.wait_for(self.validator.validate(request), 10)

    async def refused(self, token: str, app_id: str = "orders", namespace: str = "") -> str:
        with pytest.raises(ValidationError) as caught:
            await self.validate(token, app_id, namespace)
        assert token not in str(caught.value) or not token
        return str(caught.value)


@pytest.fixture
async def place(cluster: Cluster) -> AsyncIterator[Place]:
    namespace = await cluster.control_plane()
    apps = await cluster.namespace("apps")
    for where in (namespace, apps):
        await cluster.account(where, "app")
    token = await cluster.token(namespace, "dapr-sentry", [])
    login = kubeconfig_login(cluster.server.kubeconfig(namespace, token=token))
    async with KubeClient(login) as client:
        validator = KubernetesValidator(client, trust_domain=TRUST_DOMAIN, namespace=namespace)
        await asyncio.wait_for(validator.open(), 20)
        yield Place(cluster, validator, namespace, apps)
        await validator.close()


async def test_an_app_by_its_annotation(place: Place) -> None:
    assert await place.validate(await place.token(app_id="orders"), "orders") == "public"


async def test_an_app_by_its_pods_name(place: Place) -> None:
    assert await place.validate(await place.token("orders-1"), "orders-1") == "public"


async def test_the_audience_of_old_sidecars(place: Place) -> None:
    token = await place.token(audience="dapr.io/sentry", app_id="orders")
    assert await place.validate(token, "orders") == "public"


async def test_pods_are_known_at_once(place: Place) -> None:
    """A sidecar asks as soon as it runs, which may be before the watch has told of its pod."""
    for number in range(10):
        token = await place.token(f"pod-{number}", app_id=f"app-{number}")
        assert await place.validate(token, f"app-{number}") == "public"


async def test_a_pod_of_the_same_name_is_another_pod(place: Place) -> None:
    for number in range(5):
        token = await place.token("db-0", app_id=f"app-{number}")
        assert await place.validate(token, f"app-{number}") == "public"
        await place.cluster.delete_pod(place.apps, "db-0")


async def test_a_trust_domain_of_the_pods_configuration(place: Place) -> None:
    spec = {"accessControl": {"trustDomain": "shop.example"}}
    await place.cluster.configuration(place.apps, "mine", spec)
    token = await place.token(app_id="orders", config="mine")
    assert await place.validate(token, "orders") == "shop.example"


async def test_a_changed_configuration_counts(place: Place) -> None:
    spec = {"accessControl": {"trustDomain": "before"}}
    await place.cluster.configuration(place.apps, "mine", spec)
    token = await place.token(app_id="orders", config="mine")
    assert await place.validate(token, "orders") == "before"
    spec["accessControl"]["trustDomain"] = "after"
    await place.cluster.client.patch(CONFIGURATIONS, "mine", {"spec": spec}, place.apps)
    async with asyncio.timeout(10):
        while await place.validate(token, "orders") != "after":
            await asyncio.sleep(0.01)


async def test_a_configuration_without_a_trust_domain(place: Place) -> None:
    await place.cluster.configuration(place.apps, "mine", {"tracing": {"samplingRate": "1"}})
    token = await place.token(app_id="orders", config="mine")
    assert await place.validate(token, "orders") == "public"


async def test_configurations_that_do_not_help(place: Place) -> None:
    token = await place.token("a", app_id="orders", config="missing")
    assert (await place.refused(token)).startswith("failed to get configuration")
    token = await place.token("b", app_id="orders", config="../../../secrets/x")
    assert (await place.refused(token)).startswith("failed to get configuration: invalid name")
    await place.cluster.configuration(place.apps, "bad", {"accessControl": {"trustDomain": "A/b"}})
    token = await place.token("c", app_id="orders", config="bad")
    assert "trust domain characters are limited" in await place.refused(token)


async def test_a_configuration_of_another_namespace_is_not_taken(place: Place) -> None:
    spec = {"accessControl": {"trustDomain": "shop.example"}}
    await place.cluster.configuration(place.namespace, "mine", spec)
    token = await place.token(app_id="orders", config="mine")
    assert (await place.refused(token)).startswith("failed to get configuration")


# --- wrong tokens -----------------------------------------------------------------------------


async def test_tokens_that_are_none(place: Place) -> None:
    assert (await place.refused("")).startswith("invalid token: ")
    assert (await place.refused("rubbish")).startswith("invalid token: ")


async def test_another_audience(place: Place) -> None:
    token = await place.token(audience="somebody-else", app_id="orders")
    assert "invalid token: " in (text := await place.refused(token))
    assert "audience" in text


async def test_a_changed_token(place: Place) -> None:
    head, claims, signature = (await place.token(app_id="orders")).split(".")
    forged = f"{head}.{claims}.{signature[::-1]}"
    assert (await place.refused(forged)).startswith("invalid token: ")


async def test_a_token_bound_to_no_pod(place: Place) -> None:
    token = await place.cluster.token(place.apps, "app", [place.audience])
    assert await place.refused(token) == "invalid token: it is not bound to a pod"


async def test_the_token_of_a_pod_that_is_gone(place: Place) -> None:
    token = await place.token("orders-1", app_id="orders")
    await place.cluster.delete_pod(place.apps, "orders-1")
    assert (await place.refused(token)).startswith(("invalid token: ", "authentication failed"))


async def test_another_app(place: Place) -> None:
    token = await place.token(app_id="orders")
    assert await place.refused(token, "payments") == (
        "app-id mismatch. expected: orders, received: payments"
    )
    assert "expected: orders" in await place.refused(token, "orders-1")


async def test_another_namespace(place: Place) -> None:
    token = await place.token(app_id="orders")
    assert await place.refused(token, "orders", place.namespace) == (
        f"namespace mismatch. expected: {place.apps}, received: {place.namespace}"
    )


async def test_an_account_of_the_cluster_that_is_no_service_account(
    place: Place, cluster: Cluster
) -> None:
    """Sentry's own login may not review tokens any more: that is said, and nobody let in."""
    token = await place.token(app_id="orders")
    apps = await cluster.token(place.apps, "app", [])
    login = kubeconfig_login(cluster.server.kubeconfig("weak", token=apps))
    async with KubeClient(login) as client:
        weak = KubernetesValidator(client, trust_domain=TRUST_DOMAIN, namespace=place.namespace)
        request = SignCertificateRequest(id="orders", namespace=place.apps, token=token)
        with pytest.raises(ValidationError, match=r"token review failed: .*forbidden"):
            await weak.validate(request)


async def test_one_namespace_is_looked_at_where_roles_reach_no_further(cluster: Cluster) -> None:
    """As the chart has it with ``global.rbac.namespaced``."""
    namespace = await cluster.control_plane(namespaced=True)
    apps = await cluster.namespace("apps")
    for where in (namespace, apps):
        await cluster.account(where, "app")
    token = await cluster.token(namespace, "dapr-sentry", [])
    login = kubeconfig_login(cluster.server.kubeconfig(namespace, token=token))
    async with KubeClient(login) as client:
        validator = KubernetesValidator(
            client, trust_domain=TRUST_DOMAIN, namespace=namespace, watch_namespace=namespace
        )
        await asyncio.wait_for(validator.open(), 20)
        place = Place(cluster, validator, namespace, namespace)
        spec = {"accessControl": {"trustDomain": "shop.example"}}
        await cluster.configuration(namespace, "mine", spec)
        token = await place.token(app_id="orders", config="mine")
        assert await place.validate(token, "orders") == "shop.example"
        token = await place.token(namespace=namespace, pod="operator-1", control_plane="operator")
        assert await place.validate(token, "dapr-operator") == TRUST_DOMAIN
        token = await place.token(namespace=apps, app_id="orders")
        assert await place.refused(token, "orders", apps) == (
            f"pods of namespace {apps} get no certificate here: this sentry is for namespace "
            f"{namespace} (global.rbac.namespaced of the chart)"
        )
        await validator.close()


# --- the control plane ------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["operator", "placement", "injector", "sentry", "scheduler"])
async def test_the_control_plane(place: Place, service: str) -> None:
    token = await place.token(namespace=place.namespace, control_plane=service)
    found = await place.validate(token, f"dapr-{service}", place.namespace)
    assert found == TRUST_DOMAIN


async def test_nobody_else_is_the_control_plane(place: Place) -> None:
    token = await place.token("a", control_plane="operator")
    assert "must be in the control plane namespace" in await place.refused(token, "dapr-operator")
    token = await place.token("b", namespace=place.namespace, control_plane="dashboard")
    text = await place.refused(token, "dapr-dashboard", place.namespace)
    assert "unknown control plane service" in text
    token = await place.token(
        "c", namespace=place.namespace, control_plane="operator", app_id="dapr-operator"
    )
    text = await place.refused(token, "dapr-operator", place.namespace)
    assert "must not have dapr.io/app-id" in text
    token = await place.token("d", namespace=place.namespace, control_plane="operator")
    text = await place.refused(token, "dapr-sentry", place.namespace)
    assert text == "app-id mismatch. expected: dapr-operator, received: dapr-sentry"
