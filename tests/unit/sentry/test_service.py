"""``SignCertificate`` without a wire: statuses, words, metrics, what is replaced under way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from harness.authorities import authority, brought, now
from harness.prometheus_text import labels, samples

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.observe.metrics import Registry
from dapr_common.security.authority import CaBundle, Life
from dapr_common.security.x509 import new_csr, new_private_key, read_certificates, spiffe_id
from dapr_common.wire.dapr.proto.sentry.v1.sentry_pb2 import (
    SignCertificateRequest,
    SignCertificateResponse,
)
from dapr_sentry import service as module
from dapr_sentry.jwt import load_issuer, new_key_files
from dapr_sentry.metrics import SentryMetrics
from dapr_sentry.service import Issuing, SentryService
from dapr_sentry.settings import JwtSettings
from dapr_sentry.validators.base import ValidationError, Validator
from dapr_sentry.validators.insecure import InsecureValidator

KEY = new_private_key("ed25519")
CSR = new_csr(KEY)
BUNDLE = brought()
INSECURE = InsecureValidator()
NO_CONTEXT = cast(Any, None)
EVERYTHING_IS_MISSING = """\
invalid request: parameter app-id cannot be empty
CSR is required
namespace is required"""
NO_TRUST_DOMAIN = (
    "trust domain characters are limited to lowercase letters, numbers, dots, dashes, "
    "and underscores"
)


class Judge(Validator):
    """Answers, or fails, as it is told; counts what it was asked."""

    kind = SignCertificateRequest.JWKS

    def __init__(self, outcome: str | BaseException = "cluster.local") -> None:
        self.outcome = outcome
        self.asked = 0
        self.go = asyncio.Event()
        self.go.set()

    async def validate(self, request: SignCertificateRequest) -> str:
        self.asked += 1
        await self.go.wait()
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


class Sentry:
    """A service with its metrics."""

    def __init__(self, *validators: Validator, default: Validator | None = None, **other: Any):
        self.registry = Registry()
        bundle = other.pop("bundle", BUNDLE)
        table = {one.kind: one for one in validators}
        issuing = Issuing(authority(bundle), table, default, other.pop("jwt", None))
        self.service = SentryService(issuing, SentryMetrics(self.registry), **other)

    async def sign(self, **fields: Any) -> SignCertificateResponse:
        request = SignCertificateRequest(**fields)
        return await self.service.sign_certificate(request, NO_CONTEXT)

    async def refused(self, **fields: Any) -> tuple[GrpcCode, str]:
        with pytest.raises(RpcError) as caught:
            await self.sign(**fields)
        return caught.value.code, caught.value.message

    def metrics(self) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
        return {n: v for n, v in samples(self.registry).items() if n.startswith("dapr_sentry")}


def request(**other: Any) -> dict[str, Any]:
    return {"id": "orders", "namespace": "shop", "certificate_signing_request": CSR} | other


def standalone(**other: Any) -> Sentry:
    return Sentry(INSECURE, default=INSECURE, **other)


# --- answers ------------------------------------------------------------------------------------


async def test_the_answer() -> None:
    sentry = standalone()
    response = await sentry.sign(**request(token="ignored"))
    chain = read_certificates(response.workload_certificate)
    assert str(spiffe_id(chain[0])) == "spiffe://public/ns/shop/orders"
    assert chain[0].public_key() == KEY.public_key()
    assert chain[1:] == BUNDLE.chain
    assert [read_certificates(one) for one in response.trust_chain_certificates] == [BUNDLE.anchors]
    ends = response.valid_until.ToDatetime(tzinfo=chain[0].not_valid_after_utc.tzinfo)
    assert ends == chain[0].not_valid_after_utc
    assert not response.HasField("jwt")
    assert sentry.metrics()["dapr_sentry_cert_sign_request_received"] == {labels(): 1}
    assert sentry.metrics()["dapr_sentry_cert_sign_success"] == {labels(): 1}


@pytest.mark.parametrize(
    ("asked", "given"),
    [("", "public"), ("cluster.local", "cluster.local"), ("spiffe://x.y/z", "x.y")],
)
async def test_trust_domains_of_the_insecure_validator(asked: str, given: str) -> None:
    response = await standalone().sign(**request(trust_domain=asked))
    leaf = read_certificates(response.workload_certificate)[0]
    assert spiffe_id(leaf).trust_domain == given


async def test_upper_case_and_control_plane_ids_are_signed() -> None:
    for app_id in ("Orders", "dapr-sentry", "a" * 64):
        response = await standalone().sign(**request(id=app_id))
        assert spiffe_id(read_certificates(response.workload_certificate)[0]).app_id == app_id


async def test_the_trust_domain_is_the_validators() -> None:
    judge = Judge("proven.domain")
    response = await Sentry(judge, default=judge).sign(**request(trust_domain="claimed.domain"))
    leaf = read_certificates(response.workload_certificate)[0]
    assert spiffe_id(leaf).trust_domain == "proven.domain"


async def test_jwts_when_there_is_an_issuer() -> None:
    settings = JwtSettings(algorithm="ES256")
    issuer = load_issuer(*new_key_files(settings), settings, clock_skew=timedelta(0))
    sentry = standalone(jwt=issuer)
    response = await sentry.sign(**request(jwt_audiences=["a", "b", "a"]))
    assert response.jwt.value.count(".") == 2
    assert set(response.per_audience_jwts) == {"public", "a", "b"}
    many = [str(number) for number in range(101)]
    code, text = await sentry.refused(**request(jwt_audiences=many))
    assert code == GrpcCode.INVALID_ARGUMENT
    assert "too many JWT audiences" in text


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        (
            {"id": ""},
            GrpcCode.PERMISSION_DENIED,
            "invalid request: parameter app-id cannot be empty",
        ),
        (
            {"id": "a.b"},
            GrpcCode.PERMISSION_DENIED,
            "invalid request: parameter app-id cannot contain dots",
        ),
        (
            {"id": "a" * 65},
            GrpcCode.PERMISSION_DENIED,
            "invalid request: app ID must be 64 characters or less",
        ),
        (
            {"id": "", "certificate_signing_request": b"", "namespace": ""},
            GrpcCode.PERMISSION_DENIED,
            EVERYTHING_IS_MISSING,
        ),
        (
            {"trust_domain": "Not A Domain"},
            GrpcCode.PERMISSION_DENIED,
            NO_TRUST_DOMAIN,
        ),
        ({"id": "a/b"}, GrpcCode.INTERNAL, "failed to sign certificate"),
        ({"id": "a b"}, GrpcCode.INTERNAL, "failed to sign certificate"),
        ({"namespace": "a/b"}, GrpcCode.INTERNAL, "failed to sign certificate"),
        ({"namespace": ".."}, GrpcCode.INTERNAL, "failed to sign certificate"),
        (
            {"certificate_signing_request": b"x"},
            GrpcCode.INVALID_ARGUMENT,
            "invalid certificate signing request",
        ),
        (
            {"token_validator": SignCertificateRequest.KUBERNETES},
            GrpcCode.INVALID_ARGUMENT,
            "the requested validator is not enabled",
        ),
        (
            {"token_validator": 77},
            GrpcCode.INVALID_ARGUMENT,
            "the requested validator is not enabled",
        ),
    ],
)
async def test_the_words_of_refusals(fields: Mapping[str, Any], code: GrpcCode, text: str) -> None:
    sentry = standalone()
    assert await sentry.refused(**request(**fields)) == (code, text)
    metrics = sentry.metrics()
    assert metrics["dapr_sentry_cert_sign_failure"] == {labels(reason="sign"): 1}
    assert metrics["dapr_sentry_cert_sign_success"] == {labels(): 0}
    assert list(metrics["dapr_sentry_cert_sign_refused"].values()) == [1]


async def test_without_a_default_a_validator_must_be_named() -> None:
    judge = Judge()
    sentry = Sentry(judge)
    expected = "a validator name must be specified in this environment"
    assert await sentry.refused(**request()) == (GrpcCode.INVALID_ARGUMENT, expected)
    await sentry.sign(**request(token_validator=judge.kind))
    refused = sentry.metrics()["dapr_sentry_cert_sign_refused"]
    assert refused == {labels(validator="UNKNOWN", reason="validator_missing"): 1}


async def test_a_validator_that_refuses(caplog: pytest.LogCaptureFixture) -> None:
    judge = Judge(ValidationError("app-id mismatch. expected: a, received: orders"))
    sentry = Sentry(judge, default=judge)
    with caplog.at_level(logging.WARNING, "dapr.sentry.server"):
        outcome = await sentry.refused(**request(token="very-secret-token"))
    assert outcome == (
        GrpcCode.PERMISSION_DENIED,
        "app-id mismatch. expected: a, received: orders",
    )
    line = caplog.text
    for word in ("orders", "shop", "JWKS", "not_validated", "app-id mismatch"):
        assert word in line
    assert "very-secret-token" not in line
    assert "CERTIFICATE REQUEST" not in line
    refused = sentry.metrics()["dapr_sentry_cert_sign_refused"]
    assert refused == {labels(validator="JWKS", reason="not_validated"): 1}


async def test_a_validator_that_breaks_lets_nobody_in() -> None:
    judge = Judge(RuntimeError("a secret detail"))
    code, text = await Sentry(judge, default=judge).refused(**request())
    assert (code, text) == (GrpcCode.INTERNAL, "the validator failed")


async def test_a_validator_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_VALIDATION_SECONDS", 0.01)
    judge = Judge()
    judge.go.clear()
    code, text = await Sentry(judge, default=judge).refused(**request())
    assert code == GrpcCode.UNAVAILABLE
    assert "did not answer" in text


async def test_common_checks_come_before_every_validator() -> None:
    judge = Judge()
    await Sentry(judge, default=judge).refused(**request(id="a.b"))
    assert judge.asked == 0


async def test_an_issuer_that_has_ended() -> None:
    later = now() + timedelta(days=400)
    sentry = standalone(clock=lambda: later)
    code, text = await sentry.refused(**request())
    assert code == GrpcCode.FAILED_PRECONDITION
    assert text.startswith("failed to sign certificate: certificate 'CN=My Issuer' has expired on")
    refused = sentry.metrics()["dapr_sentry_cert_sign_refused"]
    assert refused == {labels(validator="INSECURE", reason="issuer_not_valid"): 1}


async def test_log_lines_of_endless_ids_are_short(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "dapr.sentry.server"):
        await standalone().refused(**request(id="x" * 60_000, namespace="y" * 60_000))
    assert len(caplog.text) < 1000


# --- replaced under way -------------------------------------------------------------------------


async def test_a_request_is_answered_by_one_version() -> None:
    judge = Judge()
    judge.go.clear()
    sentry = Sentry(judge, default=judge)
    other = brought()
    under_way = asyncio.create_task(sentry.sign(**request()))
    while not judge.asked:
        await asyncio.sleep(0)
    sentry.service.use(Issuing(authority(other), {}, INSECURE))
    judge.go.set()
    assert is_of(await under_way, BUNDLE)
    assert is_of(await sentry.sign(**request()), other)


def is_of(response: SignCertificateResponse, bundle: CaBundle) -> bool:
    chain = read_certificates(response.workload_certificate)
    anchors = read_certificates(response.trust_chain_certificates[0])
    return (chain[1:], anchors) == (bundle.chain, bundle.anchors)


async def test_callers_who_gave_up_are_not_signed_for() -> None:
    signed: list[datetime] = []

    def clock() -> datetime:
        signed.append(now())
        return signed[-1]

    sentry = standalone(clock=clock)
    waiting = [asyncio.create_task(sentry.sign(**request())) for _ in range(20)]
    await asyncio.sleep(0)
    for task in waiting[1:]:
        task.cancel()
    await asyncio.wait(waiting)
    assert len(signed) == 1
    refused = sentry.metrics()["dapr_sentry_cert_sign_refused"]
    assert refused == {labels(validator="INSECURE", reason="cancelled"): 19}


async def test_life_is_used_by_the_time_of_the_request() -> None:
    short = brought(life=Life.of(now(), timedelta(minutes=5)))
    response = await standalone(bundle=short).sign(**request())
    leaf = read_certificates(response.workload_certificate)[0]
    assert leaf.not_valid_after_utc == short.issuer.not_valid_after_utc
