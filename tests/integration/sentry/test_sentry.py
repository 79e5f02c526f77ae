"""A real sentry: what it makes, what it answers, what it refuses, how it ends."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from harness.authorities import brought, now, openssl_verify, root
from harness.programs import Program
from harness.sentry import Sentry, sentry_command, sign

from dapr_common.security.authority import CaBundle, Life, load_bundle
from dapr_common.security.x509 import KeyKind, new_csr, new_private_key, spiffe_id
from dapr_common.wire.dapr.proto.sentry.v1 import sentry_pb2 as pb

MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def sentry() -> Iterator[Sentry]:
    with Sentry() as program:
        yield program


@pytest.fixture(scope="module")
def channel(sentry: Sentry) -> Iterator[grpc.Channel]:
    with sentry.channel() as channel:
        yield channel


def refused(channel: grpc.Channel, **fields: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        sign(channel, **fields)
    return caught.value.code(), caught.value.details()


# --- a first start ------------------------------------------------------------------------------


def test_a_first_start_writes_the_authority(sentry: Sentry) -> None:
    names = {path.name for path in sentry.credentials.iterdir()}
    assert names == {"ca.crt", "issuer.crt", "issuer.key"}
    for path in sentry.credentials.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    bundle = load_bundle(
        ca_crt=sentry.anchors_pem,
        issuer_crt=(sentry.credentials / "issuer.crt").read_bytes(),
        issuer_key=(sentry.credentials / "issuer.key").read_bytes(),
        now=now(),
    )
    assert bundle.anchors[0].subject.rfc4514_string() == "O=cluster.local"
    assert not any("PRIVATE KEY" in line for line in sentry.lines)


def test_the_serving_certificate_is_sentrys_own(sentry: Sentry) -> None:
    identity = spiffe_id(sentry.served_certificate())
    assert str(identity) == "spiffe://cluster.local/ns/dapr-system/dapr-sentry"


def test_no_client_certificate_is_asked_for_and_tls_is_new_enough(sentry: Sentry) -> None:
    import ssl

    context = sentry.tls()
    with (
        socket.create_connection(("127.0.0.1", sentry.port), 10) as plain,
        context.wrap_socket(plain) as connection,
    ):
        assert connection.version() == "TLSv1.3"
        assert connection.selected_alpn_protocol() == "h2"
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", sentry.port), 10) as plain,
        context.wrap_socket(plain) as connection,
    ):
        assert connection.version() == "TLSv1.2"


def test_clear_text_gets_no_answer(sentry: Sentry) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{sentry.port}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            sign(channel, timeout=1.0)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


# --- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_certificate(channel: grpc.Channel, kind: KeyKind, tmp_path: Path) -> None:
    signed = sign(channel, key=new_private_key(kind))
    leaf = signed.chain[0]
    assert str(spiffe_id(leaf)) == "spiffe://public/ns/shop/orders"
    assert leaf.public_key() == signed.key.public_key()
    assert len(signed.chain) == 2
    assert len(signed.response.trust_chain_certificates) == 1
    assert openssl_verify(signed.chain, signed.anchors, tmp_path) == ""
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    assert life == timedelta(hours=24, minutes=15)
    assert signed.response.valid_until.ToDatetime(tzinfo=UTC) == leaf.not_valid_after_utc
    assert not signed.response.HasField("jwt")


def test_trust_domain_and_names_of_the_control_plane(channel: grpc.Channel) -> None:
    from cryptography import x509

    signed = sign(
        channel, id="dapr-injector", namespace="dapr-system", trust_domain="cluster.local"
    )
    assert spiffe_id(signed.chain[0]).trust_domain == "cluster.local"
    names = signed.chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["dapr-sidecar-injector.dapr-system.svc"]


# --- refusals -----------------------------------------------------------------------------------

DENIED, INVALID = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({"id": ""}, DENIED, "invalid request: parameter app-id cannot be empty"),
        ({"id": "a.b"}, DENIED, "invalid request: parameter app-id cannot contain dots"),
        ({"id": "a" * 65}, DENIED, "invalid request: app ID must be 64 characters or less"),
        ({"namespace": "a b"}, grpc.StatusCode.INTERNAL, "failed to sign certificate"),
        (
            {"certificate_signing_request": b"-"},
            INVALID,
            "invalid certificate signing request",
        ),
        (
            {"token_validator": pb.SignCertificateRequest.JWKS},
            INVALID,
            "the requested validator is not enabled",
        ),
    ],
)
def test_words(
    channel: grpc.Channel, fields: dict[str, Any], code: grpc.StatusCode, text: str
) -> None:
    assert refused(channel, **fields) == (code, text)


def test_weak_keys(channel: grpc.Channel, sentry: Sentry) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    weak = rsa.generate_private_key(65537, 1024)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = builder.sign(weak, hashes.SHA256()).public_bytes(Encoding.PEM)
    code, text = refused(channel, certificate_signing_request=csr)
    assert code == INVALID
    assert "RSA of 1024 bits" in text
    line = sentry.wait_line("reason weak_key")
    assert "app id 'orders'" in line
    assert "level=warning" in line
    name = 'dapr_sentry_cert_sign_refused_total{reason="weak_key",validator="INSECURE"}'
    assert sentry.metrics()[name] == 1


def test_big_requests(channel: grpc.Channel) -> None:
    code, _ = refused(channel, token="x" * (5 << 20))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    sign(channel, token="x" * (32 << 10))


def test_unknown_methods(channel: grpc.Channel) -> None:
    call = channel.unary_unary("/dapr.proto.sentry.v1.CA/Other")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=10, wait_for_ready=True)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_metrics(channel: grpc.Channel, sentry: Sentry) -> None:
    before = sentry.metrics()
    sign(channel)
    refused(channel, id="")
    after = sentry.metrics()

    def more(name: str) -> float:
        return after[name] - before.get(name, 0)  # a label comes with its first sample

    assert more("dapr_sentry_cert_sign_request_received_total") == 2
    assert more("dapr_sentry_cert_sign_success_total") == 1
    assert more('dapr_sentry_cert_sign_failure_total{reason="sign"}') == 1
    expiry = datetime.fromtimestamp(after["dapr_sentry_issuercert_expiry_timestamp"], UTC)
    assert timedelta(days=364) < expiry - now() < timedelta(days=366)


# --- authorities of users -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_an_authority_of_the_users_own(kind: KeyKind, tmp_path: Path) -> None:
    bundle = brought(kind)
    with Sentry(bundle=bundle) as sentry:
        signed = sentry.sign()
        assert signed.chain[1:] == bundle.chain
        assert signed.anchors == bundle.anchors
        assert openssl_verify(signed.chain, signed.anchors, tmp_path) == ""
        assert (sentry.credentials / "issuer.key").read_bytes() == bundle.key_pem


def test_an_issuer_that_is_the_root_itself(tmp_path: Path) -> None:
    anchor, key = root()
    with Sentry(bundle=CaBundle((anchor,), (anchor,), key)) as sentry:
        signed = sentry.sign()
        assert len(signed.chain) == 1
        assert openssl_verify(signed.chain, signed.anchors, tmp_path) == ""


def test_an_issuer_that_ends_soon_is_announced_and_never_outlived() -> None:
    bundle = brought(life=Life(now() - timedelta(days=30), now() + timedelta(hours=5)))
    with Sentry(bundle=bundle) as sentry:
        line = sentry.wait_line("The issuer certificate ends on")
        assert "in 4 hours" in line
        assert "dapr mtls renew-certificate" in line
        assert "level=warning" in line
        leaf = sentry.sign().chain[0]
        assert leaf.not_valid_after_utc == bundle.issuer.not_valid_after_utc


# --- what ends it at start ----------------------------------------------------------------------


def fatal(*flags: str, exit_code: int = 1, **named: Any) -> str:
    sentry = Sentry(flags=flags, ready=False, exit_code=exit_code, **named)
    sentry.start()
    try:
        assert sentry.wait_exit(25) == exit_code, sentry.log
    finally:
        sentry.stop()
    assert "Traceback" not in sentry.log, sentry.log
    lines = [line for line in sentry.lines if "level=fatal" in line]
    assert len(lines) == 1, sentry.log
    return lines[0]


def test_an_issuer_that_has_ended() -> None:
    ended = brought(life=Life(now() - 60 * MINUTE, now() - 5 * MINUTE))
    line = fatal(bundle=ended)
    assert "issuer.crt: the chain does not lead to a trust anchor of ca.crt" in line
    assert "has expired on" in line


def test_a_key_of_another_issuer() -> None:
    one, other = brought(), brought()
    line = fatal(bundle=CaBundle(one.anchors, one.chain, other.key))
    assert "issuer.key: the key is not the one of the issuer certificate" in line


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--mode=docker"], "invalid value for --mode"),
        (["--config=/nowhere/config.yaml"], "/nowhere/config.yaml: No such file or directory"),
        (["--config="], "error loading configuration"),
        (["--jwt-issuer=x"], "--jwt-issuer needs --jwt-enabled"),
        (["--trust-domain=A B"], "invalid value for --trust-domain"),
        (["--port=99999"], "invalid value for --port"),
        (["--log-level=loud"], "invalid value for --log-level"),
        (["--oidc-server-tls-key-file=x"], "need each other"),
        (["--jwt-enabled", "--jwt-signing-algorithm=none"], "jwt-signing-algorithm"),
        (["--issuer-credentials=/proc/nowhere"], "--issuer-credentials"),
        (["--mode=kubernetes"], "does not run as root in Kubernetes"),
    ],
)
def test_flags_that_cannot_be_used(flags: list[str], words: str) -> None:
    assert words in fatal(*flags)


@pytest.mark.parametrize(
    ("mtls", "words"),
    [
        ({"workloadCertTTL": "a day"}, "spec.mtls.workloadCertTTL"),
        ({"workloadCertTTL": "-1h"}, "too short"),
        ({"allowedClockSkew": "x"}, "spec.mtls.allowedClockSkew"),
        ({"tokenValidators": [{"name": "insecure"}]}, "insecure cannot be configured"),
        ({"tokenValidators": [{"name": "other"}]}, "unknown validator"),
        ({"tokenValidators": [{"name": "jwks"}]}, "option 'source' is required"),
    ],
)
def test_configurations_that_cannot_be_used(mtls: dict[str, Any], words: str) -> None:
    assert words in fatal(mtls=mtls)


def test_the_command_line() -> None:
    for arguments, status, text in (
        (["--help"], 0, "--issuer-credentials string"),
        (["--no-such-flag"], 2, "unknown flag: --no-such-flag"),
        (["-port", "x"], 2, 'invalid argument "x" for "--port" flag'),
    ):
        program = Program([*sentry_command(), *arguments])
        program.start()
        assert program.wait_exit() == status
        assert text in program.log


def test_all_spellings_of_flags_and_shorter_lives() -> None:
    mtls = {"workloadCertTTL": "2m", "allowedClockSkew": "30s"}
    flags = ["-log-level", "info", "--log-as-json", "--enable-metrics=false"]
    with Sentry(mtls=mtls, flags=flags) as sentry:
        leaf = sentry.sign().chain[0]
        assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(minutes=2.5)
        assert all(line.startswith("{") for line in sentry.lines)
        with pytest.raises(ConnectionRefusedError):
            sentry.metrics()


def test_a_call_under_way_ends_before_the_process_does() -> None:
    sentry = Sentry()
    with sentry, sentry.channel() as channel:
        sign(channel)
    assert "beginning shutdown" in sentry.log


def test_python_m_runs_it_too() -> None:
    import sys

    program = Program([sys.executable, "-m", "dapr_sentry", "--help"])
    program.start()
    assert program.wait_exit() == 0
    assert "dapr-sentry: " in program.log


def test_jwts(tmp_path: Path) -> None:
    flags = ["--jwt-enabled", "--jwt-signing-algorithm", "ES256", "--jwt-issuer=https://issuer"]
    with Sentry(flags=flags) as sentry:
        response = sentry.sign(jwt_audiences=["bank"]).response
        assert set(response.per_audience_jwts) == {"public", "bank"}
        assert (sentry.credentials / "jwks.json").exists()
        assert stat.S_IMODE((sentry.credentials / "jwt.key").stat().st_mode) == 0o600


def test_requests_of_one_key_are_as_many_certificates(channel: grpc.Channel) -> None:
    key = new_private_key("ed25519")
    csr = new_csr(key)
    numbers = {
        sign(channel, certificate_signing_request=csr).chain[0].serial_number for _ in range(5)
    }
    assert len(numbers) == 5
