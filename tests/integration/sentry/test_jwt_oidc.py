"""JWTs of a real sentry, verified by what its OIDC server publishes, as a foreign verifier does."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
import trustme
from harness.authorities import now
from harness.programs import free_port
from harness.sentry import Sentry

from dapr_common.security.authority import Life, new_bundle
from dapr_sentry.jwt import new_key_files
from dapr_sentry.settings import JwtSettings

CA = trustme.CA()


@dataclass
class Discovered:
    """A sentry with OIDC over TLS."""

    sentry: Sentry
    port: int
    files: Path

    def get(self, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection(
            "localhost", self.port, timeout=10, context=trusting(CA)
        )
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            response.text = response.read().decode()  # type: ignore[attr-defined]
            return response
        finally:
            connection.close()

    def document(self, path: str) -> Any:
        return json.loads(self.get(path).text)  # type: ignore[attr-defined]

    def verify(self, token: str, audience: str) -> dict[str, Any]:
        """By discovery alone: issuer, its document, its keys."""
        found = self.document("/.well-known/openid-configuration")
        client = jwt.PyJWKClient(found["jwks_uri"], ssl_context=trusting(CA))
        return jwt.decode(
            token,
            client.get_signing_key_from_jwt(token).key,
            algorithms=found["id_token_signing_alg_values_supported"],
            audience=audience,
            issuer=found["issuer"],
        )


def trusting(ca: trustme.CA) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca.cert_pem.bytes().decode())


def write_certificate(folder: Path, ca: trustme.CA) -> None:
    issued = ca.issue_cert("localhost")
    for name, content in (
        ("tls.key", issued.private_key_pem.bytes()),
        ("tls.crt", issued.cert_chain_pems[0].bytes()),
    ):
        (folder / f"{name}.new").write_bytes(content)
        (folder / f"{name}.new").rename(folder / name)


def oidc(folder: Path, *flags: str, ready: bool = True) -> Discovered:
    port = free_port()
    own = ["--jwt-enabled", "--oidc-enabled", f"--oidc-server-listen-port={port}"]
    own += [f"--oidc-server-tls-cert-file={folder / 'tls.crt'}"]
    own += [f"--oidc-server-tls-key-file={folder / 'tls.key'}"]
    issuer = f"--jwt-issuer=https://localhost:{port}"
    return Discovered(Sentry(flags=[*own, issuer, *flags], ready=ready), port, folder)


@pytest.fixture(scope="module")
def discovered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Discovered]:
    folder = tmp_path_factory.mktemp("tls")
    write_certificate(folder, CA)
    found = oidc(folder)
    with found.sentry:
        yield found


def test_tokens_are_verified_by_discovery(discovered: Discovered) -> None:
    response = discovered.sentry.sign(jwt_audiences=["vault", "bank"]).response
    assert discovered.verify(response.jwt.value, "bank")["aud"] == ["public", "vault", "bank"]
    assert set(response.per_audience_jwts) == {"public", "vault", "bank"}
    for audience, token in response.per_audience_jwts.items():
        claims = discovered.verify(token.value, audience)
        assert claims["aud"] == [audience]
        assert claims["sub"] == "spiffe://public/ns/shop/orders"
        assert claims["exp"] - claims["iat"] == 24 * 3600
        assert claims["iat"] - claims["nbf"] == 15 * 60


def test_what_is_served(discovered: Discovered) -> None:
    served = discovered.get("/jwks.json")
    stored = (discovered.sentry.credentials / "jwks.json").read_text()
    assert served.text == stored  # type: ignore[attr-defined]
    assert served.headers["Cache-Control"] == "public, max-age=3600"
    assert served.headers["Content-Type"] == "application/json"
    (entry,) = json.loads(stored)["keys"]
    assert (entry["alg"], entry["kty"], entry["use"]) == ("RS256", "RSA", "sig")
    response = discovered.get("/jwks.json", "POST")
    assert (response.status, response.text) == (405, "Method not allowed\n")  # type: ignore[attr-defined]
    assert discovered.get("/").status == 404


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_of_tls_are_refused(discovered: Discovered) -> None:
    context = trusting(CA)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", discovered.port), 10) as plain,
        pytest.raises(OSError, match=r"PROTOCOL|protocol|reset"),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


@pytest.mark.slow
def test_slow_headers_are_cut(discovered: Discovered) -> None:
    began = time.monotonic()
    with (
        socket.create_connection(("127.0.0.1", discovered.port), 10) as plain,
        trusting(CA).wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(b"GET /jwks.json HTTP/1.1\r\nHost: ")
        connection.settimeout(30)
        while connection.recv(4096):
            pass
        assert 8 < time.monotonic() - began < 25


def test_a_new_key_is_published(tmp_path: Path) -> None:
    write_certificate(tmp_path, CA)
    found = oidc(tmp_path)
    with found.sentry as sentry:
        before = sentry.sign().response.jwt.value
        key, jwks = new_key_files(JwtSettings())
        both = {"keys": [*json.loads(jwks)["keys"], *found.document("/jwks.json")["keys"]]}
        (sentry.credentials / "jwt.key").write_bytes(key)
        (sentry.credentials / "jwks.json").write_text(json.dumps(both))
        until = time.monotonic() + 15
        while len(found.document("/jwks.json")["keys"]) < 2:
            assert time.monotonic() < until
            time.sleep(0.1)
        after = sentry.sign().response.jwt.value
        assert jwt.get_unverified_header(after)["kid"] != jwt.get_unverified_header(before)["kid"]
        assert found.verify(after, "public")
        assert found.verify(before, "public"), "the key before is still in the set"


@pytest.mark.slow
def test_certificate_files_are_waited_for_and_followed(tmp_path: Path) -> None:
    found = oidc(tmp_path, ready=False)
    with found.sentry as sentry:
        sentry.wait_line("the OIDC server's certificate")
        assert sentry.sign().response.jwt.value, "certificates are issued meanwhile"
        assert sentry.health() == 503
        write_certificate(tmp_path, CA)
        until = time.monotonic() + 15
        while sentry.health() != 200:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert found.document("/jwks.json")["keys"]
        other = trustme.CA()
        write_certificate(tmp_path, other)
        while True:
            with (
                socket.create_connection(("127.0.0.1", found.port), 10) as plain,
            ):
                try:
                    trusting(other).wrap_socket(plain, server_hostname="localhost").close()
                    break
                except ssl.SSLError:
                    assert time.monotonic() < until + 15
                    time.sleep(0.2)


def test_plain_http_behind_a_proxy(tmp_path: Path) -> None:
    port = free_port()
    flags = ["--jwt-enabled", "--oidc-enabled", "--oidc-server-tls-enabled=false"]
    flags += [f"--oidc-server-listen-port={port}", "--oidc-path-prefix=/dapr"]
    flags += ["--oidc-allowed-hosts=sentry.example,other.example"]
    with Sentry(flags=flags):
        for host, forwarded, status in (
            ("localhost", "sentry.example", 200),
            ("other.example:80", "", 200),
            ("localhost", "", 403),
        ):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            headers = {"Host": host, **({"X-Forwarded-Host": forwarded} if forwarded else {})}
            connection.request("GET", "/dapr/.well-known/openid-configuration", headers=headers)
            response = connection.getresponse()
            text = response.read().decode()
            connection.close()
            assert response.status == status
            if status == 403:
                assert text == "Forbidden: unauthorized domain\n"
            elif forwarded:
                assert json.loads(text)["jwks_uri"] == "http://sentry.example/dapr/jwks.json"


@pytest.mark.parametrize(
    ("algorithm", "words"),
    [
        ("HS256", "unknown --jwt-signing-algorithm 'HS256'"),
        ("ES256", "--jwt-signing-algorithm ES256 does not fit the JWT signing key"),
    ],
)
def test_keys_that_cannot_be_used(algorithm: str, words: str) -> None:
    sentry = Sentry(
        bundle=new_bundle("cluster.local", "dapr-system", Life.of(now())),
        flags=["--jwt-enabled", f"--jwt-signing-algorithm={algorithm}"],
        ready=False,
        exit_code=1,
    )
    key, jwks = new_key_files(JwtSettings())
    (sentry.credentials / "jwt.key").write_bytes(key)
    (sentry.credentials / "jwks.json").write_bytes(jwks)
    sentry.start()
    assert sentry.wait_exit(20) == 1
    assert words in sentry.log
