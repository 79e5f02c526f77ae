"""What a real API server does not let happen, or not on order: the validator lets nobody in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from harness.fake_api_server import FakeApiServer, answer, events, failure, fake_api_server, listing

from dapr_common.http.messages import Request, Response
from dapr_common.kube.client import KubeClient
from dapr_common.wire.dapr.proto.sentry.v1.sentry_pb2 import SignCertificateRequest
from dapr_sentry.validators.base import ValidationError
from dapr_sentry.validators.kubernetes import KubernetesValidator

ACCOUNT = "system:serviceaccount:shop:app"


class Place:
    """Tokens are reviewed as ``status`` says; the cache holds ``cached``, the server ``pod``."""

    def __init__(self, server: FakeApiServer, client: KubeClient) -> None:
        self.status: dict[str, Any] = reviewed(ACCOUNT)
        self.pod: Response = failure(404, "NotFound", "no such pod")
        self.cached: list[dict[str, Any]] = []
        self.server = server
        self.client = client
        server.line.append(self._answer)

    def _answer(self, request: Request) -> Response:
        path, query = request.path.decode(), request.query.decode()
        if path.endswith("/tokenreviews"):
            return answer({"status": self.status})
        if "watch=true" in query:
            return events(hang=True)
        if "/namespaces/shop/pods/" in path:
            return self.pod
        return listing(1, *(self.cached if path.endswith("/pods") else ()))

    async def validate(self, token: str, namespace: str = "shop") -> str:
        validator = KubernetesValidator(self.client, trust_domain="local", namespace="dapr-system")
        await asyncio.wait_for(validator.open(), 20)
        try:
            request = SignCertificateRequest(id="orders", namespace=namespace, token=token)
            return await validator.validate(request)
        finally:
            await validator.close()

    async def refused(self, token: str) -> str:
        with pytest.raises(ValidationError) as caught:
            await self.validate(token)
        return str(caught.value)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with fake_api_server() as server, KubeClient(server.login) as client:
        yield Place(server, client)


def reviewed(username: str) -> dict[str, Any]:
    return {
        "authenticated": True,
        "user": {"username": username},
        "audiences": ["spiffe://local/ns/dapr-system/dapr-sentry"],
    }


def token(**kubernetes: Any) -> str:
    return jwt.encode({"kubernetes.io": kubernetes}, "k" * 64, algorithm="HS512")


def pod(uid: str, *, account: str = "app", app_id: str = "orders") -> dict[str, Any]:
    metadata = {"namespace": "shop", "name": "p", "uid": uid, "resourceVersion": "1"}
    return {
        "metadata": {**metadata, "annotations": {"dapr.io/app-id": app_id}},
        "spec": {"serviceAccountName": account},
    }


GOOD = token(pod={"name": "p", "uid": "u1"})


async def test_what_the_refusals_differ_from(place: Place) -> None:
    place.cached = [pod("u1")]
    assert await place.validate(GOOD) == "public"


async def test_the_pods_account_is_another(place: Place) -> None:
    place.cached = [pod("u1", account="other")]
    assert await place.refused(GOOD) == "pod service account mismatch"


async def test_a_token_that_is_not_authenticated(place: Place) -> None:
    place.cached = [pod("u1")]
    place.status = {"authenticated": False, "user": {"username": ACCOUNT}}
    assert await place.refused(GOOD) == "authentication failed"
    place.status = {}
    assert await place.refused(GOOD) == "authentication failed"


@pytest.mark.parametrize("audiences", [None, [], ["https://kubernetes.default.svc"], "text", [1]])
async def test_a_review_that_looked_at_no_audience(place: Place, audiences: object) -> None:
    """As authenticators answer that know nothing of audiences."""
    place.cached = [pod("u1")]
    place.status = {**reviewed(ACCOUNT), "audiences": audiences}
    assert await place.refused(GOOD) == "authentication failed: the token was not made for sentry"


async def test_an_error_counts_more_than_authenticated(place: Place) -> None:
    place.cached = [pod("u1")]
    place.status = {**reviewed(ACCOUNT), "error": "expired"}
    assert await place.refused(GOOD) == "invalid token: expired"


@pytest.mark.parametrize(
    "username",
    [
        "",
        "admin",
        "system:serviceaccount:shop",
        "system:serviceaccount:shop:app:more",
        "other:serviceaccount:shop:app",
        "system:node:shop:app",
        "system:serviceaccount::app",
        "system:serviceaccount:shop:",
    ],
)
async def test_users_that_are_no_service_accounts(place: Place, username: str) -> None:
    place.cached = [pod("u1")]
    place.status = reviewed(username)
    assert "not that of a service account" in await place.refused(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        "opaque",
        "a.b.c",
        token(),
        token(pod={}),
        token(pod="p"),
        token(pod={"name": ""}),
        jwt.encode({"kubernetes.io": "x"}, "k" * 64, algorithm="HS512"),
    ],
)
async def test_tokens_that_name_no_pod(place: Place, text: str) -> None:
    place.cached = [pod("u1")]
    assert (await place.refused(text)).startswith("invalid token: it is ")


async def test_the_cache_is_behind(place: Place) -> None:
    """The cached pod had the name before: the token's own one is asked for."""
    place.cached = [pod("u0", app_id="payments")]
    place.pod = answer(pod("u1"))
    assert await place.validate(GOOD) == "public"


async def test_the_tokens_pod_is_nowhere(place: Place) -> None:
    place.cached = [pod("u0")]
    assert (await place.refused(GOOD)).startswith("failed to get pod of identity: ")
    place.pod = answer(pod("u2"))
    assert await place.refused(GOOD) == "failed to get pod of identity: the token's pod is gone"


async def test_a_pod_name_that_is_a_path(place: Place) -> None:
    text = token(pod={"name": "../../../api/v1/namespaces/shop/pods/p", "uid": "u1"})
    place.pod = answer(pod("u1"))
    assert (await place.refused(text)).startswith("failed to get pod of identity: invalid name")


async def test_what_is_reviewed(place: Place) -> None:
    place.cached = [pod("u1")]
    await place.validate(GOOD)
    (body,) = [
        body
        for (_, path, _), body in zip(place.server.asked, place.server.bodies, strict=True)
        if path == "/apis/authentication.k8s.io/v1/tokenreviews"
    ]
    assert b'"audiences":["dapr.io/sentry","spiffe://local/ns/dapr-system/dapr-sentry"]' in body
