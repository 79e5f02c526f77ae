"""Identities asked of a scripted sentry: what is sent, what is refused, when it is asked again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from harness.authorities import Authority
from harness.programs import free_port
from harness.stand_in_sentry import APP, HOUR, SENTRY, Events, Said, StandInSentry

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.security.errors import IdentityError
from dapr_common.security.sentry_client import IdentityRequest
from dapr_common.security.source import IdentitySource
from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.svid import Svid
from dapr_common.security.tls import TlsContexts
from dapr_common.security.x509 import write_certificates
from dapr_common.wire.dapr.proto.sentry.v1 import sentry_pb2 as pb


@pytest.fixture
async def sentry() -> AsyncIterator[StandInSentry]:
    made = StandInSentry()
    async with made.serving(0):
        yield made


def source(
    sentry: StandInSentry,
    events: Events | None = None,
    changed: Callable[[Svid], None] | None = None,
    *,
    sentry_id: str = SENTRY,
    token_file: Path | None = None,
    anchors: tuple[x509.Certificate, ...] = (),
    audiences: tuple[str, ...] = (),
) -> IdentitySource:
    request = IdentityRequest(
        app_id="app",
        namespace="default",
        sentry_address=sentry.address,
        sentry_id=SpiffeId.parse(sentry_id),
        token_file=token_file,
        audiences=audiences,
    )
    trusted = anchors or (sentry.issuer.top(),)
    return IdentitySource(request, trusted, TlsContexts(), events or Events(), changed)


async def test_what_is_asked_and_what_comes_of_it(sentry: StandInSentry, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a token\n")
    events, seen = Events(), []
    made = source(sentry, events, seen.append, token_file=token)
    await made.fetch_initial()
    (request,) = sentry.requests
    assert (request.id, request.namespace, request.trust_domain) == ("app", "default", "")
    assert (request.token, request.token_validator) == (
        "a token",
        pb.SignCertificateRequest.UNKNOWN,
    )
    assert b"BEGIN CERTIFICATE REQUEST" in request.certificate_signing_request
    assert seen == [made.svid]
    assert str(made.svid.id) == APP
    assert len(made.svid.chain) == 2
    assert events.first == [""]


async def test_every_certificate_has_a_key_of_its_own(sentry: StandInSentry) -> None:
    made = source(sentry)
    await made.fetch_initial()
    first = made.svid.key
    await made.fetch_initial()
    assert made.svid.key.public_key() != first.public_key()


async def test_renewal_half_way_through_a_life(sentry: StandInSentry) -> None:
    sentry.life = timedelta(seconds=6)
    events = Events()
    made = source(sentry, events)
    await made.fetch_initial()
    first = made.svid
    running = asyncio.create_task(made.run())
    await sentry.wait_for(2)
    before_the_end = first.not_after - datetime.now(UTC)
    while not events.later:
        await asyncio.sleep(0.01)
    running.cancel()
    assert timedelta(seconds=1) < before_the_end < timedelta(seconds=4.5)
    assert events.later[:1] == [""]


async def test_a_renewal_that_fails_leaves_the_certificate_and_is_tried_again(
    sentry: StandInSentry, caplog: pytest.LogCaptureFixture
) -> None:
    sentry.life = timedelta(seconds=3)
    events = Events()
    made = source(sentry, events)
    await made.fetch_initial()
    first = made.svid
    sentry.answers = [RpcError(GrpcCode.PERMISSION_DENIED, "not today")]
    running = asyncio.create_task(made.run())
    await sentry.wait_for(2)
    assert made.svid is first
    await sentry.wait_for(3)
    running.cancel()
    assert events.later[0] == "sign"
    assert "the present one is in use until" in caplog.text
    assert "not today" in caplog.text


async def test_new_trust_anchors_come_with_a_certificate(sentry: StandInSentry) -> None:
    made = source(sentry)
    await made.fetch_initial()
    other = Authority.root("other")
    sentry.anchors = (sentry.issuer.top(), other.certificate)
    await made.fetch_initial()
    assert made.svid.anchors == sentry.anchors
    # From here on sentry may have the other root only.
    sentry.issuer, sentry.anchors = other.intermediate(), (other.certificate,)
    sentry.contexts.install(sentry.issuer.svid(SENTRY))
    await made.fetch_initial()
    assert made.svid.anchors == (other.certificate,)


async def test_without_anchors_in_the_answer_the_present_ones_stay(sentry: StandInSentry) -> None:
    sentry.anchors = ()
    made = source(sentry)
    await made.fetch_initial()
    assert made.svid.anchors == (sentry.issuer.top(),)


async def test_a_sentry_that_is_not_there_yet_is_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sentry = StandInSentry()
    port = free_port()
    sentry.address = f"127.0.0.1:{port}"
    made = source(sentry)
    said = Said("cannot be reached, trying again")
    caplog.handler.addFilter(said)
    waiting = asyncio.create_task(made.fetch_initial())
    await said.event.wait()
    assert not waiting.done()
    async with sentry.serving(port):
        await waiting
    caplog.handler.removeFilter(said)
    assert str(made.svid.id) == APP


@pytest.mark.parametrize(
    ("sentry_id", "text"),
    [
        ("spiffe://cluster.local/ns/default/dapr-sentry", "unexpected SPIFFE ID"),
        ("spiffe://localhost/ns/dapr-system/dapr-sentry", "control plane's trust domain"),
    ],
)
async def test_another_sentry_is_refused_at_once(
    sentry: StandInSentry, sentry_id: str, text: str
) -> None:
    events = Events()
    with pytest.raises(IdentityError, match=text):
        await source(sentry, events, sentry_id=sentry_id).fetch_initial()
    assert events.first == ["sentry_conn"]
    assert not sentry.requests


async def test_a_sentry_of_another_root_is_refused_at_once(sentry: StandInSentry) -> None:
    stranger = (Authority.root().certificate,)
    with pytest.raises(IdentityError, match="certificate verify failed"):
        await source(sentry, anchors=stranger).fetch_initial()
    assert not sentry.requests


async def test_a_refusal_ends_the_start(sentry: StandInSentry) -> None:
    sentry.answers = [RpcError(GrpcCode.PERMISSION_DENIED, "app-id mismatch")]
    events = Events()
    with pytest.raises(IdentityError, match=r"PermissionDenied.*app-id mismatch"):
        await source(sentry, events).fetch_initial()
    assert len(sentry.requests) == 1
    assert events.first == ["sign"]


async def test_other_failures_are_tried_five_times(sentry: StandInSentry) -> None:
    sentry.answers = [RpcError(GrpcCode.INTERNAL, "a moment")] * 5
    with pytest.raises(IdentityError, match="a moment"):
        await source(sentry).fetch_initial()
    assert len(sentry.requests) == 5
    sentry.answers = [RpcError(GrpcCode.INTERNAL, "a moment")] * 4
    await source(sentry).fetch_initial()


@pytest.mark.parametrize("content", [None, "", " \n"])
async def test_a_token_file_without_a_token(
    sentry: StandInSentry, tmp_path: Path, content: str | None
) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_text(content)
    events = Events()
    with pytest.raises(IdentityError, match=r"no token for sentry: .*token"):
        await source(sentry, events, token_file=token).fetch_initial()
    assert events.first == ["sentry_token"]


async def test_answers_that_peers_would_refuse(sentry: StandInSentry) -> None:
    sound = sentry.issuer.svid(APP)
    cases = {
        "no certificates in PEM form": pb.SignCertificateResponse(workload_certificate=b"nothing"),
        "for another key": pb.SignCertificateResponse(
            workload_certificate=write_certificates(sound.chain)
        ),
    }
    for text, answer in cases.items():
        sentry.answers = [answer]
        with pytest.raises(IdentityError, match=text):
            await source(sentry).fetch_initial()
    sentry.uri = "spiffe://public/ns/default/other"
    with pytest.raises(IdentityError, match="for another workload"):
        await source(sentry).fetch_initial()
    sentry.uri, sentry.life = APP, -timedelta(seconds=1)
    events = Events()
    with pytest.raises(IdentityError, match="has expired"):
        await source(sentry, events).fetch_initial()
    assert events.first == ["invalid_ts"]
    sentry.life, sentry.anchors = HOUR, (Authority.root("stranger").certificate,)
    with pytest.raises(IdentityError, match="signed by no trust anchor"):
        await source(sentry).fetch_initial()


async def test_jwts_are_kept_and_missing_ones_are_said(sentry: StandInSentry) -> None:
    made = source(sentry, audiences=("one", "two"))
    original = sentry.answer
    tokens = {"one": "a.b.c"}

    def with_jwt(request: pb.SignCertificateRequest) -> pb.SignCertificateResponse:
        answer = original(request)
        answer.jwt.value = _JWT
        for name, value in tokens.items():
            answer.per_audience_jwts[name].value = value
        return answer

    sentry.answer = with_jwt  # type: ignore[method-assign]
    with pytest.raises(IdentityError, match="no JWT for the audience two"):
        await made.fetch_initial()
    tokens["two"] = "d.e.f"
    await made.fetch_initial()
    assert made.svid.jwt == _JWT
    assert made.svid.audience_jwts == tokens
    assert _JWT not in repr(made.svid)


async def test_a_jwt_that_has_ended_by_this_clock_is_not_renewed_without_a_pause(
    sentry: StandInSentry,
) -> None:
    made = source(sentry)
    original = sentry.answer

    def with_old_jwt(request: pb.SignCertificateRequest) -> pb.SignCertificateResponse:
        answer = original(request)
        answer.jwt.value = "e30.eyJleHAiOjF9.x"
        return answer

    sentry.answer = with_old_jwt  # type: ignore[method-assign]
    await made.fetch_initial()
    begun = asyncio.get_running_loop().time()
    async with asyncio.timeout(20):
        renewal = asyncio.create_task(made.run())
        await sentry.wait_for(2)
    renewal.cancel()
    assert asyncio.get_running_loop().time() - begun > 0.9


_JWT = "e30.eyJleHAiOjQxMDI0NDQ4MDB9.x"


async def test_keys_and_tokens_are_not_logged(
    sentry: StandInSentry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = tmp_path / "token"
    token.write_text("a-secret-token")
    sentry.answers = [RpcError(GrpcCode.PERMISSION_DENIED, "no")]
    made = source(sentry, token_file=token)
    with pytest.raises(IdentityError) as caught:
        await made.fetch_initial()
    await made.fetch_initial()
    assert "a-secret-token" not in caplog.text + str(caught.value)
    assert "PRIVATE" not in caplog.text
