"""Whatever tokens are shown and names are asked for: the real validators let each have its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any, cast

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from harness.authorities import authority, brought
from harness.fake_api_server import answer, events, failure, fake_api_server, listing
from hypothesis import given, settings
from hypothesis import strategies as st

from dapr_common.grpc.errors import RpcError
from dapr_common.http.messages import Request, Response
from dapr_common.kube.client import KubeClient
from dapr_common.observe.metrics import Registry
from dapr_common.security.x509 import new_csr, new_private_key, read_certificates, spiffe_id
from dapr_common.wire.dapr.proto.sentry.v1.sentry_pb2 import SignCertificateRequest
from dapr_sentry.metrics import SentryMetrics
from dapr_sentry.service import Issuing, SentryService
from dapr_sentry.validators.base import Validator
from dapr_sentry.validators.jwks import JwksOptions, JwksValidator
from dapr_sentry.validators.kubernetes import KubernetesValidator

CSR = new_csr(new_private_key("ed25519"))
CA = authority(brought())
SENTRY = "spiffe://local/ns/dapr-system/dapr-sentry"
NAMESPACES = ("shop", "bank", "dapr-system")
IDS = ("orders", "accounts", "p", "q", "dapr-operator", "dapr-sentry")


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


async def issued(validator: Validator, request: SignCertificateRequest) -> str | None:
    """The identity that came of a request; ``None`` when it was refused."""
    issuing = Issuing(CA, {validator.kind: validator}, validator)
    service = SentryService(issuing, SentryMetrics(Registry()))
    with contextlib.suppress(RpcError):
        response = await service.sign_certificate(request, cast(Any, None))
        return str(spiffe_id(read_certificates(response.workload_certificate)[0]))
    return None


def requests(tokens: st.SearchStrategy[str]) -> st.SearchStrategy[SignCertificateRequest]:
    return st.builds(
        SignCertificateRequest,
        id=st.sampled_from(IDS),
        namespace=st.sampled_from(NAMESPACES),
        trust_domain=st.sampled_from(["", "public", "local", "spiffe://local/x"]),
        token=tokens,
        certificate_signing_request=st.just(CSR),
    )


# --- pods ---------------------------------------------------------------------------------------


def pod(namespace: str, name: str, **annotations: str) -> dict[str, Any]:
    notes = {f"dapr.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    metadata = {"namespace": namespace, "name": name, "uid": f"{namespace}-{name}"}
    return {
        "metadata": {**metadata, "annotations": notes, "resourceVersion": "1"},
        "spec": {"serviceAccountName": f"account-{name}"},
    }


# The identity that a pod may have; one without may have none.
PODS: list[tuple[dict[str, Any], str | None]] = [
    (pod("shop", "p", app_id="orders"), "spiffe://public/ns/shop/orders"),
    (pod("bank", "p", app_id="accounts"), "spiffe://public/ns/bank/accounts"),
    (pod("bank", "q"), "spiffe://public/ns/bank/q"),
    (pod("shop", "q", app_id="dapr-operator"), "spiffe://public/ns/shop/dapr-operator"),
    (pod("shop", "liar", control_plane="operator"), None),
    (
        pod("dapr-system", "p", control_plane="operator"),
        f"{SENTRY.rpartition('/')[0]}/dapr-operator",
    ),
    (pod("dapr-system", "q", control_plane="orders"), None),
    (pod("dapr-system", "both", control_plane="sentry", app_id="dapr-sentry"), None),
    (pod("dapr-system", "app", app_id="orders"), "spiffe://public/ns/dapr-system/orders"),
]


def pod_token(number: int, account: str | None, uid: str | None) -> str:
    metadata = PODS[number][0]["metadata"]
    claims = {
        # What the fake API server goes by; a real one looks at its signature.
        "number": number,
        "account": account or PODS[number][0]["spec"]["serviceAccountName"],
        "kubernetes.io": {"pod": {"name": metadata["name"], "uid": uid or metadata["uid"]}},
    }
    return jwt.encode(claims, "k" * 64, algorithm="HS512")


def api_server(request: Request) -> Response:
    path = request.path.decode()
    if path.endswith("/tokenreviews"):
        spec = json.loads(request.body or b"{}")["spec"]
        token, audiences = spec["token"], spec["audiences"]
        claims = jwt.decode(token, options={"verify_signature": False})
        namespace = PODS[claims["number"]][0]["metadata"]["namespace"]
        username = f"system:serviceaccount:{namespace}:{claims['account']}"
        status = {"authenticated": True, "audiences": audiences, "user": {"username": username}}
        return answer({"status": status})
    if b"watch=true" in request.query:
        return events(hang=True)
    if "/namespaces/" in path:
        return failure(404, "NotFound")
    return listing(1, *([one for one, _ in PODS] if path.endswith("/pods") else ()))


@pytest.fixture(scope="module")
def pods(runner: asyncio.Runner) -> Iterator[KubernetesValidator]:
    async def opened(stack: contextlib.AsyncExitStack) -> KubernetesValidator:
        server = await stack.enter_async_context(fake_api_server())
        server.line.append(api_server)
        client = await stack.enter_async_context(KubeClient(server.login))
        made = KubernetesValidator(client, trust_domain="local", namespace="dapr-system")
        stack.push_async_callback(made.close)
        await asyncio.wait_for(made.open(), 20)
        return made

    stack = contextlib.AsyncExitStack()
    yield runner.run(opened(stack))
    runner.run(stack.aclose())


@settings(max_examples=80, deadline=None)
@given(
    data=st.data(),
    number=st.integers(0, len(PODS) - 1),
    account=st.sampled_from([None, None, None, "account-p", "other"]),
    uid=st.sampled_from([None, None, None, "shop-p", "gone"]),
)
def test_a_pod_gets_its_own_identity_or_none(
    runner: asyncio.Runner,
    pods: KubernetesValidator,
    data: st.DataObject,
    number: int,
    account: str | None,
    uid: str | None,
) -> None:
    body, own = PODS[number]
    request = data.draw(requests(st.just(pod_token(number, account, uid))))
    found = runner.run(issued(pods, request))
    assert found in (own, None)
    if account not in (None, body["spec"]["serviceAccountName"]):
        assert found is None
    if uid not in (None, body["metadata"]["uid"]):
        assert found is None


@pytest.mark.parametrize("number", range(len(PODS)))
def test_every_pod_gets_its_own_and_no_other(
    runner: asyncio.Runner, pods: KubernetesValidator, number: int
) -> None:
    """Of all the names it may ask for; a validator that refuses everybody would not do."""
    body, own = PODS[number]
    requests = [
        SignCertificateRequest(
            id=app_id,
            namespace=body["metadata"]["namespace"],
            token=pod_token(number, None, None),
            certificate_signing_request=CSR,
        )
        for app_id in IDS
    ]
    found = {runner.run(issued(pods, request)) for request in requests}
    assert found - {None} == ({own} if own else set())


# --- published keys -----------------------------------------------------------------------------

KNOWN, UNKNOWN = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


@pytest.fixture(scope="module")
def published(runner: asyncio.Runner) -> Iterator[JwksValidator]:
    key = jwt.algorithms.OKPAlgorithm.to_jwk(KNOWN.public_key(), as_dict=True)
    options = JwksOptions(json.dumps({"keys": [{**key, "kid": "k"}]}))
    made = JwksValidator(options, trust_domain="local", namespace="dapr-system")
    runner.run(made.open())
    yield made
    runner.run(made.close())


subjects = st.builds(
    "spiffe://{}/ns/{}/{}".format,
    st.sampled_from(["public", "local"]),
    st.sampled_from(NAMESPACES),
    st.sampled_from(IDS),
)
audiences = st.sampled_from([SENTRY, [SENTRY, "x"], "x", [], SENTRY + "x"])


@settings(max_examples=100, deadline=None)
@given(
    data=st.data(),
    subject=subjects,
    audience=audiences,
    key=st.sampled_from([KNOWN, KNOWN, KNOWN, UNKNOWN, None]),
)
def test_a_token_gives_its_subject_or_nothing(
    runner: asyncio.Runner,
    published: JwksValidator,
    data: st.DataObject,
    subject: str,
    audience: Any,
    key: Ed25519PrivateKey | None,
) -> None:
    claims = {"sub": subject, "aud": audience}
    headers = {"kid": "k"}
    if key is None:
        token = jwt.encode(claims, None, algorithm="none", headers=headers)
    else:
        token = jwt.encode(claims, key, algorithm="EdDSA", headers=headers)
    request = data.draw(requests(st.just(token)))
    # For oneself now and then, or nobody would ever get anything.
    if data.draw(st.booleans()):
        _, _, domain, _, namespace, app_id = subject.split("/")
        request.trust_domain, request.namespace, request.id = domain, namespace, app_id
    found = runner.run(issued(published, request))
    good = key is KNOWN and audience in (SENTRY, [SENTRY, "x"])
    domain = request.trust_domain.removeprefix("spiffe://").partition("/")[0] or "public"
    asked = f"spiffe://{domain}/ns/{request.namespace}/{request.id}"
    assert found == (subject if good and asked == subject else None)
