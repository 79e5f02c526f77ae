"""The OIDC documents: who gets them, and what they say; the server's certificate files."""

from __future__ import annotations

import asyncio
import json
import ssl
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ed25519

from dapr_common.http.messages import Request, Response
from dapr_sentry.jwt import JwtIssuer, make_jwks
from dapr_sentry.oidc import Discovery
from dapr_sentry.oidc_tls import CertificateFiles
from dapr_sentry.settings import JwtSettings, OidcSettings

KEY = ed25519.Ed25519PrivateKey.generate()
JWT = JwtSettings(algorithm="EdDSA")
ISSUER = JwtIssuer(KEY, make_jwks(KEY, JWT), JWT, clock_skew=timedelta(0))
CONFIGURATION, KEYS = "/.well-known/openid-configuration", "/jwks.json"


async def ask(
    settings: OidcSettings,
    path: str,
    *,
    method: str = "GET",
    host: str = "sentry.example:9080",
    forwarded: str = "",
    issuer: JwtIssuer = ISSUER,
    issuer_url: str = "",
) -> Response:
    headers = [(b"host", host.encode())]
    if forwarded:
        headers.append((b"x-forwarded-host", forwarded.encode()))
    discovery = Discovery(settings, issuer, issuer_url=issuer_url)
    return await discovery.handle(Request(method, path.encode(), b"", headers))


def body(response: Response) -> bytes:
    assert isinstance(response.body, bytes)
    return response.body


async def test_keys() -> None:
    response = await ask(OidcSettings(), KEYS)
    assert response.status == 200
    assert body(response) == ISSUER.jwks
    assert dict(response.headers) == {
        b"Content-Type": b"application/json",
        b"Cache-Control": b"public, max-age=3600",
    }


async def test_configuration() -> None:
    response = await ask(OidcSettings(cert_file="c", key_file="k"), CONFIGURATION)
    assert json.loads(body(response)) == {
        "issuer": "https://sentry.example:9080",
        "jwks_uri": "https://sentry.example:9080/jwks.json",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
        "scopes_supported": ["openid"],
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nbf", "use"],
    }


async def test_configured_urls() -> None:
    settings = OidcSettings(jwks_uri="https://cdn/keys")
    found = json.loads(body(await ask(settings, CONFIGURATION, issuer_url="https://issuer")))
    assert (found["issuer"], found["jwks_uri"]) == ("https://issuer", "https://cdn/keys")


@pytest.mark.parametrize("prefix", ["/dapr", "dapr", "/dapr/"])
async def test_prefix(prefix: str) -> None:
    settings = OidcSettings(path_prefix=prefix)
    assert (await ask(settings, "/dapr" + KEYS)).status == 200
    assert (await ask(settings, KEYS)).status == 404
    found = json.loads(body(await ask(settings, "/dapr" + CONFIGURATION)))
    assert found["jwks_uri"] == "http://sentry.example:9080/dapr/jwks.json"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
async def test_other_methods(method: str) -> None:
    response = await ask(OidcSettings(), KEYS, method=method)
    assert (response.status, body(response)) == (405, b"Method not allowed\n")


async def test_no_keys() -> None:
    empty = JwtIssuer(KEY, b"", JWT, clock_skew=timedelta(0))
    assert (await ask(OidcSettings(), KEYS, issuer=empty)).status == 404


async def test_unknown_path() -> None:
    assert (await ask(OidcSettings(), "/")).status == 404


@pytest.mark.parametrize(
    ("allowed", "host", "forwarded", "status"),
    [
        ((), "any", "", 200),
        (("a.example",), "a.example", "", 200),
        (("a.example",), "a.example:9080", "", 200),
        (("a.example",), "A.EXAMPLE", "", 200),
        (("a.example:9080",), "a.example:9080", "", 200),
        (("a.example:9080",), "a.example", "", 403),
        (("a.example",), "b.example", "", 403),
        (("a.example",), "a.example.evil", "", 403),
        (("a.example",), "", "", 403),
        (("b.example", " a.example "), "a.example", "", 200),
        (("*",), "any", "", 200),
        (("a.example",), "10.0.0.1:9080", "a.example", 200),
        (("a.example",), "a.example", "evil.example", 403),
        (("[::1]",), "[::1]:9080", "", 200),
    ],
)
async def test_allowed_hosts(
    allowed: tuple[str, ...], host: str, forwarded: str, status: int
) -> None:
    settings = OidcSettings(allowed_hosts=allowed)
    response = await ask(settings, KEYS, host=host, forwarded=forwarded)
    assert response.status == status
    if status == 403:
        assert body(response) == b"Forbidden: unauthorized domain\n"


@pytest.mark.parametrize(
    ("allowed", "shown"),
    [(("proxy.example",), "proxy.example"), (("*",), "own"), ((), "own")],
)
async def test_a_forwarded_host_counts_only_when_hosts_are_checked(
    allowed: tuple[str, ...], shown: str
) -> None:
    settings = OidcSettings(allowed_hosts=allowed)
    response = await ask(settings, CONFIGURATION, host="own", forwarded="proxy.example")
    assert json.loads(body(response))["issuer"] == f"http://{shown}"


# --- certificate files ------------------------------------------------------------------------


def write(folder: Path, ca: trustme.CA) -> None:
    issued = ca.issue_cert("localhost")
    for name, content in (
        ("tls.crt", issued.cert_chain_pems[0].bytes()),
        ("tls.key", issued.private_key_pem.bytes()),
    ):
        (folder / f"{name}.new").write_bytes(content)
        (folder / f"{name}.new").rename(folder / name)


def handshake(context: ssl.SSLContext, ca: trustme.CA) -> bool:
    """Whether a client that trusts ``ca`` accepts what the context serves."""
    trust = ssl.create_default_context(cadata=ca.cert_pem.bytes().decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return False
    return True


async def test_missing_files_are_waited_for(tmp_path: Path) -> None:
    files = CertificateFiles(
        str(tmp_path / "tls.crt"), str(tmp_path / "tls.key"), look_seconds=0.01
    )
    waiting = asyncio.ensure_future(files.wait())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    ca = trustme.CA()
    write(tmp_path, ca)
    (tmp_path / "tls.key").write_text("half written")
    await asyncio.sleep(0.05)
    assert not waiting.done()
    write(tmp_path, ca)
    await asyncio.wait_for(waiting, 20)
    assert handshake(files.context, ca)


async def test_changed_files_are_used_and_broken_ones_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = trustme.CA(), trustme.CA()
    write(tmp_path, first)
    files = CertificateFiles(
        str(tmp_path / "tls.crt"), str(tmp_path / "tls.key"), look_seconds=0.01
    )
    await files.wait()
    following = asyncio.ensure_future(files.follow())
    try:
        (tmp_path / "tls.key").write_text("no key")
        async with asyncio.timeout(20):
            while "the one before stays in use" not in caplog.text:
                await asyncio.sleep(0.01)
        assert handshake(files.context, first)
        write(tmp_path, second)
        async with asyncio.timeout(20):
            while not handshake(files.context, second):
                await asyncio.sleep(0.01)
        assert not handshake(files.context, first)
    finally:
        following.cancel()
