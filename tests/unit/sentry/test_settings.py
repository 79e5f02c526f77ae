"""Flags and environment: defaults, spellings, combinations, what is refused."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dapr_common.flags import FlagError, parse, usage
from dapr_common.program import SettingsError
from dapr_sentry import settings
from dapr_sentry.bundle_store import FileNames
from dapr_sentry.flag_table import FLAGS
from dapr_sentry.settings import JwtSettings, OidcSettings, Settings

TLS = ("--oidc-server-tls-cert-file=a", "--oidc-server-tls-key-file=b")
OIDC = ("--jwt-enabled", "--oidc-enabled")


def read(*arguments: str, **environment: str) -> Settings:
    return settings.read(parse(FLAGS, arguments), environment)


def test_defaults() -> None:
    found = read()
    assert not found.kubernetes
    assert found.config == "daprsystem"
    assert str(found.identity) == "spiffe://localhost/ns/default/dapr-sentry"
    assert (found.port, found.listen_address) == (50001, "")
    assert found.credentials == Path("/var/run/secrets/dapr.io/credentials")
    assert found.files == FileNames()
    assert found.jwt is found.oidc is None
    assert (found.service.healthz_port, found.service.metrics_port) == (8080, 9090)
    assert found.service.metrics_enabled
    assert found.service.log_level == "info"


def test_the_flags_are_those_of_dapr() -> None:
    reference = Path(__file__).parents[4] / "shared" / "reference" / "flags.json"
    if not reference.exists():
        pytest.skip("the reference tables are not here")
    programs = json.loads(reference.read_text())["programs"]
    wanted: dict[str, Any] = {flag["name"]: flag for flag in programs["sentry"]["flags"]}
    ours = {flag.name: flag for flag in FLAGS}
    assert set(ours) == set(wanted)
    for name, flag in ours.items():
        assert flag.kind == wanted[name]["type"], name
        if name not in ("jwt-ttl", "kubeconfig"):
            assert flag.default == wanted[name]["default"], name
    text = usage("dapr-sentry", "", FLAGS)
    assert all(f"--{name}" in text for name in wanted)


@pytest.mark.parametrize("arguments", [["--port", "7"], ["--port=7"], ["-port", "7"], ["-port=7"]])
def test_spellings(arguments: list[str]) -> None:
    assert read(*arguments).port == 7


def test_identity() -> None:
    found = read("--trust-domain=spiffe://cluster.local/x", NAMESPACE="dapr-system")
    assert str(found.identity) == "spiffe://cluster.local/ns/dapr-system/dapr-sentry"
    with pytest.raises(SettingsError, match="--trust-domain"):
        read("--trust-domain=")
    with pytest.raises(SettingsError, match="NAMESPACE"):
        read(NAMESPACE="a/b")


def test_names_of_files() -> None:
    found = read(
        "--issuer-ca-filename=root.pem",
        "--issuer-certificate-filename=/etc/chain.pem",
        "--jwt-key-filename=mine.key",
        "--jwks-filename=/etc/jwks.json",
    ).files
    # A relative name of the JWT files does not count: so it is in Dapr.
    expected = FileNames("root.pem", "/etc/chain.pem", "issuer.key", "jwt.key", "/etc/jwks.json")
    assert found == expected
    keys = FileNames("root.pem", "chain.pem", "issuer.key", "jwt.key", "jwks.json")
    assert found.as_keys() == keys


def test_jwt() -> None:
    found = read("--jwt-enabled", "--jwt-issuer=me", "--jwt-ttl=5m", "--jwt-key-id=k").jwt
    assert found == JwtSettings(issuer="me", key_id="k", ttl=timedelta(minutes=5))
    with pytest.raises(SettingsError, match="--jwt-ttl"):
        read("--jwt-enabled", "--jwt-ttl=0s")
    with pytest.raises(SettingsError, match="--jwt-issuer needs"):
        read("--jwt-issuer=me")


def test_oidc() -> None:
    assert read("--oidc-enabled", *TLS).oidc is None  # silently off without JWTs, as in Dapr
    found = read(*OIDC, *TLS, "--oidc-allowed-hosts=a,b", "--oidc-path-prefix=/x").oidc
    assert found == OidcSettings(
        cert_file="a", key_file="b", allowed_hosts=("a", "b"), path_prefix="/x"
    )
    plain = read(*OIDC, "--oidc-server-tls-enabled=false").oidc
    assert plain == OidcSettings()
    with pytest.raises(SettingsError, match="needs --oidc-server-tls-cert-file"):
        read(*OIDC)
    with pytest.raises(SettingsError, match="need each other"):
        read("--oidc-server-tls-cert-file=a")


def test_kubernetes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 65532)
    everywhere = read("--mode=kubernetes", NAMESPACE="dapr-system")
    assert (everywhere.kubernetes, everywhere.watch_namespace) == (True, "")
    there = read("--mode=kubernetes", NAMESPACE="dapr-system", WATCH_NAMESPACE="dapr-system")
    assert there.watch_namespace == "dapr-system"
    with pytest.raises(SettingsError, match="NAMESPACE is not set"):
        read("--mode=kubernetes")
    monkeypatch.setattr("os.getuid", lambda: 0)
    with pytest.raises(SettingsError, match="as root"):
        read("--mode=kubernetes", NAMESPACE="dapr-system")
    unsafe = {"DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK": "true"}
    assert read("--mode=kubernetes", NAMESPACE="dapr-system", **unsafe).kubernetes


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--mode=other"], 1),
        (["--port=-1"], 1),
        (["--port=65536"], 1),
        (["--metrics-port=x"], 1),
        (["--log-level=x"], 1),
        (["--nothing"], 2),
        (["--jwt-ttl=x"], 2),
    ],
)
def test_refusals_and_their_exit_codes(arguments: list[str], status: int) -> None:
    with pytest.raises(FlagError) as caught:
        read(*arguments)
    assert caught.value.status == status
