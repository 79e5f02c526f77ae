"""``dapr mtls``: what it writes, what it says, what it refuses."""

from __future__ import annotations

import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from harness.authorities import (
    YEAR,
    below,
    brought,
    now,
    openssl_verify,
    root,
    with_path_length,
    workload,
)

from dapr_common.security.authority import CaBundle, Life, load_bundle, new_bundle
from dapr_common.security.x509 import (
    PrivateKey,
    new_private_key,
    signing_hash,
    write_private_key,
)


def put(directory: Path, bundle: CaBundle) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "ca.crt").write_bytes(bundle.anchors_pem)
    (directory / "issuer.crt").write_bytes(bundle.chain_pem)
    (directory / "issuer.key").write_bytes(bundle.key_pem)
    return directory


def read(directory: Path) -> CaBundle:
    return load_bundle(
        ca_crt=(directory / "ca.crt").read_bytes(),
        issuer_crt=(directory / "issuer.crt").read_bytes(),
        issuer_key=(directory / "issuer.key").read_bytes(),
        now=now(),
    )


def key_file(folder: Path, key: PrivateKey) -> str:
    path = folder / "some.key"
    path.write_bytes(write_private_key(key))
    return str(path)


@pytest.fixture
def before() -> CaBundle:
    return new_bundle("localhost", "default", Life.of(now(), timedelta(days=30)))


@pytest.fixture
def credentials(tmp_path: Path, before: CaBundle) -> Path:
    return put(tmp_path / "credentials", before)


@pytest.mark.parametrize("verb", ["renew-certificate", "renew-cert", "rnc"])
def test_a_new_root_beside_the_old_one(
    verb: str, dapr, credentials: Path, before: CaBundle, tmp_path: Path
) -> None:
    outcome = dapr("mtls", verb, "--issuer-credentials", str(credentials), "--valid-until", "100")
    assert outcome.code == 0, outcome.err
    after = read(credentials)
    assert after.anchors[1:] == before.anchors
    assert after.issuer.not_valid_after_utc > now() + timedelta(days=99)
    assert openssl_verify(workload(after).chain, before.anchors, tmp_path) == ""
    assert "A new root and issuer certificate are in" in outcome.out
    assert f"by {before.issuer.not_valid_after_utc:%a, %d %b %Y}" in outcome.out
    for path in credentials.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.name in ("ca.crt", "issuer.crt", "issuer.key")


def test_the_directory_of_the_runtime_is_the_default(dapr, home: Path, before: CaBundle) -> None:
    put(home / ".dapr" / "certs", before)
    assert dapr("mtls", "renew-certificate").code == 0
    assert len(read(home / ".dapr" / "certs").anchors) == 2


def test_the_roots_own_key_renews_only_the_issuer(dapr, tmp_path: Path) -> None:
    anchor, anchor_key = root()
    issuer, key = below(anchor, anchor_key)
    directory = put(tmp_path / "own", CaBundle((anchor,), (issuer,), key))
    given = key_file(tmp_path, anchor_key)
    outcome = dapr("mtls", "rnc", "--issuer-credentials", str(directory), "--private-key", given)
    assert outcome.code == 0, outcome.err
    after = read(directory)
    assert after.anchors == (anchor,)
    assert after.issuer != issuer
    assert "A new issuer certificate is in" in outcome.out


def test_another_key_is_a_new_roots(dapr, credentials: Path, tmp_path: Path) -> None:
    key = new_private_key("ecdsa")
    given = key_file(tmp_path, key)
    outcome = dapr("mtls", "rnc", "--issuer-credentials", str(credentials), "--private-key", given)
    assert outcome.code == 0, outcome.err
    assert read(credentials).anchors[0].public_key() == key.public_key()


def test_the_present_issuer_may_sign_the_next(dapr, credentials: Path, before: CaBundle) -> None:
    assert dapr("mtls", "rnc", "--issuer-credentials", str(credentials), "--issuer-only").code == 0
    after = read(credentials)
    assert after.anchors == before.anchors
    assert after.chain[1:] == before.chain


def test_an_authority_that_has_ended_is_renewed_with_a_warning(dapr, tmp_path: Path) -> None:
    ended = brought(life=Life(now() - YEAR, now() - timedelta(hours=1)))
    directory = put(tmp_path / "ended", ended)
    outcome = dapr("mtls", "rnc", "--issuer-credentials", str(directory))
    assert outcome.code == 0
    assert "trust nothing new" in outcome.err
    read(directory)


def test_expiry(dapr, credentials: Path) -> None:
    outcome = dapr("mtls", "expiry", "--issuer-credentials", str(credentials))
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0].startswith("Root certificate expires in 719 hours. Expiry date: ")
    assert lines[1].startswith("Issuer certificate expires in 719 hours. Expiry date: ")


def test_expiry_of_what_has_ended(dapr, tmp_path: Path) -> None:
    anchor, anchor_key = root()
    issuer, key = below(anchor, anchor_key, life=Life(now() - YEAR, now() - timedelta(hours=1)))
    directory = put(tmp_path / "ended", CaBundle((anchor,), (issuer,), key))
    outcome = dapr("mtls", "expiry", "--issuer-credentials", str(directory))
    assert outcome.code == 1
    assert "Root certificate expires in" in outcome.out
    assert "Issuer certificate has expired. Expiry date: " in outcome.err


def test_export(dapr, credentials: Path, before: CaBundle, tmp_path: Path) -> None:
    out = tmp_path / "new" / "place"
    outcome = dapr("mtls", "export", "--issuer-credentials", str(credentials), "-o", str(out))
    assert outcome.code == 0
    assert (read(out).anchors, read(out).chain) == (before.anchors, before.chain)
    assert stat.S_IMODE((out / "issuer.key").stat().st_mode) == 0o600
    again = dapr("mtls", "export", "--issuer-credentials", str(out), "-o", str(out))
    assert again.code == 1
    assert "is where they are already" in again.err


def test_export_goes_to_the_current_directory(
    dapr, credentials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = dapr("mtls", "export", "--issuer-credentials", str(credentials))
    assert outcome.code == 0
    assert outcome.out == f"✅  Trust certs successfully exported to {tmp_path}\n"
    assert (tmp_path / "issuer.key").read_bytes() == (credentials / "issuer.key").read_bytes()


def test_without_a_cluster_the_files_of_this_machine_are_meant(dapr, home: Path) -> None:
    outcome = dapr("mtls", "expiry")
    assert outcome.code == 1
    assert f"{home / '.dapr' / 'certs' / 'ca.crt'} cannot be read" in outcome.err


def own_files(folder: Path, own: CaBundle) -> list[str]:
    files = {
        "--ca-root-certificate": own.anchors_pem,
        "--issuer-public-certificate": own.chain_pem,
        "--issuer-private-key": own.key_pem,
    }
    arguments = []
    for flag, content in files.items():
        (folder / flag[2:]).write_bytes(content)
        arguments += [flag, str(folder / flag[2:])]
    return arguments


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
def test_an_authority_of_ones_own_is_trusted_by_those_of_before(
    kind: str, dapr, credentials: Path, before: CaBundle, tmp_path: Path
) -> None:
    own = brought(kind)
    given = own_files(tmp_path, own)
    outcome = dapr("mtls", "rnc", "--issuer-credentials", str(credentials), *given)
    assert outcome.code == 0, outcome.err
    after = read(credentials)
    assert after.anchors == (*own.anchors, *before.anchors)
    assert after.issuer == own.issuer
    app = workload(after)
    for anchors in (before.anchors, own.anchors):
        assert openssl_verify(app.chain, anchors, tmp_path) == ""
    # The certificates that are out go on.
    assert openssl_verify(workload(before).chain, after.anchors, tmp_path) == ""


def test_a_foreign_key_id_of_ones_own_root(dapr, credentials, before, tmp_path: Path) -> None:
    """What other tools call a key is kept where the old issuer vouches for it."""
    anchor, anchor_key = with_key_id(b"\x01" * 8)
    issuer, key = below(anchor, anchor_key)
    given = own_files(tmp_path, CaBundle((anchor,), (issuer,), key))
    assert dapr("mtls", "rnc", "--issuer-credentials", str(credentials), *given).code == 0
    assert openssl_verify(workload(read(credentials)).chain, before.anchors, tmp_path) == ""


def with_key_id(key_id: bytes) -> tuple[x509.Certificate, PrivateKey]:
    plain, key = root()
    builder = (
        x509.CertificateBuilder()
        .subject_name(plain.subject)
        .issuer_name(plain.subject)
        .public_key(plain.public_key())
        .serial_number(plain.serial_number)
        .not_valid_before(plain.not_valid_before_utc)
        .not_valid_after(plain.not_valid_after_utc)
    )
    for extension in plain.extensions:
        value = extension.value
        if isinstance(value, x509.SubjectKeyIdentifier):
            value = x509.SubjectKeyIdentifier(key_id)
        if not isinstance(value, x509.AuthorityKeyIdentifier):
            builder = builder.add_extension(value, extension.critical)
    return builder.sign(key, signing_hash(key)), key


def test_an_issuer_that_may_not_vouch_is_said(dapr, tmp_path: Path) -> None:
    anchor, anchor_key = root()
    issuer, key = below(anchor, anchor_key)
    bounded = CaBundle((anchor,), (with_path_length(issuer, anchor_key, 0),), key)
    directory = put(tmp_path / "bounded", bounded)
    own = brought()
    given = own_files(tmp_path, own)
    outcome = dapr("mtls", "rnc", "--issuer-credentials", str(directory), *given)
    assert outcome.code == 0
    assert "trust nothing new" in outcome.err
    after = read(directory)
    assert after.chain == own.chain
    assert after.anchors == (*own.anchors, *bounded.anchors)


def test_an_authority_of_ones_own_must_fit_together(
    dapr, credentials: Path, before: CaBundle, tmp_path: Path
) -> None:
    given = own_files(tmp_path, CaBundle(brought().anchors, before.chain, before.key))
    outcome = dapr("mtls", "rnc", "--issuer-credentials", str(credentials), *given)
    assert outcome.code == 1
    assert "the chain does not lead to a trust anchor" in outcome.err
    assert read(credentials).anchors == before.anchors


def test_what_cannot_be_used_is_left_alone(dapr, tmp_path: Path, credentials: Path) -> None:
    nowhere = dapr("mtls", "expiry", "--issuer-credentials", str(tmp_path / "nowhere"))
    assert nowhere.code == 1
    assert "ca.crt cannot be read: No such file or directory" in nowhere.err
    (credentials / "issuer.key").write_bytes(brought().key_pem)
    before = {path.name: path.read_bytes() for path in credentials.iterdir()}
    outcome = dapr("mtls", "rnc", "--issuer-credentials", str(credentials))
    assert outcome.code == 1
    assert f"{credentials / 'issuer.key'}: the key is not the one of the issuer" in outcome.err
    assert {path.name: path.read_bytes() for path in credentials.iterdir()} == before


def test_json_lines(dapr, credentials: Path) -> None:
    outcome = dapr("mtls", "rnc", "--issuer-credentials", str(credentials), "--log-as-json")
    assert [json.loads(line)["status"] for line in outcome.out.splitlines()] == ["success", "info"]
