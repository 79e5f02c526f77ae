"""Files change under a running sentry: listeners, connections and what works stay."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from harness.authorities import APP, brought, handshake, now, openssl_verify
from harness.programs import console_script
from harness.sentry import Sentry, sign

from dapr_common.security.authority import CaBundle, Life, load_bundle
from dapr_common.security.rotation import renewed_issuer, rotated
from dapr_common.security.x509 import verify_chain
from dapr_common.wire.dapr.proto.sentry.v1 import sentry_pb2 as pb
from dapr_sentry.jwt import load_issuer, new_key_files
from dapr_sentry.settings import JwtSettings

CHANGED = "The issuer certificate has changed"
KEPT = "what was in use stays in use"
FAILED = "dapr_sentry_reload_failed_total"


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    with Sentry() as program:
        yield program


def stored(sentry: Sentry) -> CaBundle:
    read = {
        name.replace(".", "_"): (sentry.credentials / name).read_bytes()
        for name in ("ca.crt", "issuer.crt", "issuer.key")
    }
    return load_bundle(now=now(), **read)


async def test_a_rotation_by_files_fails_no_connection(sentry: Sentry, tmp_path: Path) -> None:
    before = stored(sentry)
    with sentry.channel() as channel:
        old = sign(channel).svid
        after = rotated(before, now(), Life.of(now()))
        sentry.put(after)
        sentry.wait_line(CHANGED)
        new = sign(channel)  # over the connection of before
        assert new.chain[1:] == after.chain
        assert new.anchors == after.anchors
    for chain in (old.chain, new.chain):
        for anchors in (before.anchors, after.anchors):
            verify_chain(chain, anchors, now())
            assert openssl_verify(chain, anchors, tmp_path) == ""
    await handshake(old, new.svid)
    await handshake(new.svid, old)
    sentry.known_anchors = before.anchors_pem
    sentry.served_certificate()  # who knows only the old anchors trusts sentry itself
    assert sentry.metrics()["dapr_sentry_issuercert_changed_total"] == 1
    assert sum("gRPC server listening" in line for line in sentry.lines) == 1


async def test_a_rotation_by_the_command_line(sentry: Sentry) -> None:
    before = sentry.sign().svid
    command = [console_script("dapr"), "mtls", "renew-certificate"]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, "--issuer-credentials", str(sentry.credentials)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    sentry.wait_line(CHANGED)
    after = sentry.sign().svid
    assert after.anchors[1:] == before.anchors
    await handshake(before, after)
    await handshake(after, before)
    assert KEPT not in sentry.log


def test_a_new_issuer_under_the_same_root(sentry: Sentry) -> None:
    after = renewed_issuer(stored(sentry), Life.of(now(), timedelta(days=10)))
    sentry.put(after)
    sentry.wait_line(CHANGED)
    signed = sentry.sign()
    assert signed.chain[1:] == after.chain
    assert sentry.served_certificate().issuer == after.issuer.subject


def test_an_authority_that_has_nothing_to_do_with_the_one_before(sentry: Sentry) -> None:
    other = brought()
    sentry.put(other)
    sentry.wait_line(CHANGED)
    assert sentry.sign().anchors == other.anchors


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("issuer.key", brought().key_pem, "issuer.key: the key is not the one of the issuer"),
        ("issuer.crt", b"half a cert", "issuer.crt: "),
        ("ca.crt", brought().anchors_pem, "issuer.crt: the chain does not lead to a trust anchor"),
        ("issuer.key", None, "a part of the certificate authority is missing"),
    ],
)
def test_what_cannot_be_used_changes_nothing(
    sentry: Sentry, name: str, content: bytes | None, words: str
) -> None:
    before = stored(sentry)
    file = sentry.credentials / name
    good = file.read_bytes()
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    line = sentry.wait_line(KEPT)
    assert words in line
    assert "level=error" in line
    sentry.known_anchors = before.anchors_pem
    signed = sentry.sign()
    assert (signed.chain[1:], signed.anchors) == (before.chain, before.anchors)
    assert sentry.health() == 200
    assert sentry.metrics()[FAILED] >= 1
    # Nothing was made or overwritten, and a set that fits is taken again.
    assert (file.read_bytes() if content else None) == content
    file.write_bytes(good)
    sentry.put(after := renewed_issuer(before, Life.of(now())))
    sentry.wait_line(CHANGED)
    assert sentry.sign().chain[1:] == after.chain


def test_lives_change_with_the_configuration(sentry: Sentry) -> None:
    sentry.configure({"workloadCertTTL": "10m", "allowedClockSkew": "1m"})
    sentry.wait_line("The Configuration has changed")
    leaf = sentry.sign().chain[0]
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(minutes=11)
    sentry.configure({"workloadCertTTL": "nonsense"})
    assert "workloadCertTTL" in sentry.wait_line(KEPT)
    assert sentry.sign().chain[0].not_valid_after_utc > now()


def test_validators_change_with_the_configuration(sentry: Sentry) -> None:
    """From nobody who is asked for a proof to tokens of a key set, and back."""
    settings = JwtSettings(algorithm="ES256")
    key, jwks = new_key_files(settings)
    own = f"spiffe://{sentry.trust_domain}/ns/{sentry.namespace}/dapr-sentry"
    tokens = load_issuer(key, jwks, settings, clock_skew=timedelta(0)).issue(APP, [own], now())
    named = {"token_validator": pb.SignCertificateRequest.JWKS}
    with sentry.channel() as channel:
        sign(channel)
        options = {"source": jwks.decode()}
        sentry.configure({"tokenValidators": [{"name": "JWKS", "options": options}]})
        sentry.wait_line("The Configuration has changed")
        assert "a validator name must be specified" in refused(channel)
        assert "does not contain a token" in refused(channel, **named)
        token = tokens.per_audience[own]
        sign(channel, token=token, **named)
        refused(channel, token=token, id="payments", **named)
        sentry.configure({})
        sentry.wait_lines("The Configuration has changed", 2)
        sign(channel)
    assert token not in sentry.log


def refused(channel: grpc.Channel, **fields: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        sign(channel, **fields)
    return str(caught.value.details())


def test_a_directory_that_is_replaced_is_followed(sentry: Sentry) -> None:
    """As Kubernetes does with mounted secrets: the files are links that change all at once."""
    other = brought()
    beside = sentry.folder / "other"
    shutil.copytree(sentry.credentials, beside)
    (beside / "ca.crt").write_bytes(other.anchors_pem)
    (beside / "issuer.crt").write_bytes(other.chain_pem)
    (beside / "issuer.key").write_bytes(other.key_pem)
    for name in ("ca.crt", "issuer.crt", "issuer.key"):
        link = sentry.credentials / f".{name}"
        link.symlink_to(beside / name)
        link.replace(sentry.credentials / name)
    sentry.wait_line(CHANGED)
    assert sentry.sign().anchors == other.anchors


def test_sentrys_own_certificate_is_renewed_half_way() -> None:
    with Sentry(mtls={"workloadCertTTL": "6s", "allowedClockSkew": "1s"}) as sentry:
        first, renewed = sentry.served_certificate(), "Sentry's own certificate is valid until"
        sentry.wait_lines(renewed, sentry.log.count(renewed) + 1, 20)
        second = sentry.served_certificate()
        assert second.serial_number != first.serial_number
        assert second.public_key() != first.public_key()
        assert second.not_valid_after_utc > first.not_valid_after_utc
