"""The way outward through a proxy, and what is called directly all the same."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
import trustme

from dapr_common.http.client import ConnectError, HttpClient
from dapr_common.http.messages import Request, Response
from dapr_common.http.proxy import outward_client, proxy_of, proxy_url
from dapr_common.http.server import HttpServer

PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    ("environment", "scheme", "found"),
    [
        ({}, "http", ""),
        ({"HTTP_PROXY": PROXY}, "http", PROXY),
        ({"http_proxy": PROXY}, "http", PROXY),
        ({"HTTP_PROXY": "", "http_proxy": PROXY}, "http", PROXY),
        ({"HTTP_PROXY": PROXY}, "https", ""),
        ({"https_proxy": "proxy:3128"}, "https", PROXY),
    ],
)
def test_variables(environment: Mapping[str, str], scheme: str, found: str) -> None:
    assert proxy_url(scheme, "outside.test", 80, environment) == found


@pytest.mark.parametrize(
    ("exceptions", "proxied", "direct"),
    [
        ("", ["a.test", "10.0.0.1", "::2"], ["localhost", "127.0.0.1", "::1", "169.254.169.254"]),
        ("*", [], ["a.test", "10.0.0.1"]),
        ("a.test", ["b.test", "xa.test"], ["a.test", "A.test", "x.a.test"]),
        (".a.test", ["a.test"], ["x.a.test"]),
        ("*.a.test", ["a.test"], ["x.a.test"]),
        ("b, a.test:443 ,", ["b.test"], ["a.test", "b", "x.b"]),
        ("a.test:80", ["a.test"], []),
        ("10.0.0.1", ["10.0.0.2"], ["10.0.0.1"]),
        ("10.0.0.0/8,nonsense/9", ["11.0.0.1", "a.test"], ["10.9.9.9"]),
        ("[::2]:443,[::3]:80,::4", ["::3"], ["::2", "::4"]),
    ],
)
def test_exceptions(exceptions: str, proxied: list[str], direct: list[str]) -> None:
    environment = {"HTTPS_PROXY": PROXY, "no_proxy": exceptions}
    for host in proxied:
        assert proxy_url("https", host, 443, environment) == PROXY, host
    for host in direct:
        assert proxy_url("https", host, 443, environment) == "", host


def test_a_url_for_other_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", "outside.test:8443")
    assert proxy_of("https://outside.test/x") == PROXY
    assert proxy_of("https://outside.test:8443") is None
    assert proxy_of("http://outside.test") is None
    assert proxy_of("unix:///x") is None


@dataclass
class Stage:
    """A proxy whose every way leads to one of two servers."""

    http: int
    https: int
    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    refusal: bytes = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        tunnel = head.startswith(b"CONNECT")
        if self.refusal:
            writer.write(self.refusal)
            writer.close()
            return
        there, back = await asyncio.open_connection(
            "127.0.0.1", self.https if tunnel else self.http
        )
        if tunnel:
            writer.write(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
        else:
            back.write(head)
        await asyncio.gather(_pass(reader, back), _pass(there, writer))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


async def _answer(request: Request) -> Response:
    return Response(200, [], request.path + b" " + (request.header(b"host") or b""))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def stage(authority: trustme.CA) -> AsyncIterator[Stage]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("outside.test").configure_cert(context)
    servers = [HttpServer(_answer, max_body_bytes=None, max_header_bytes=8192) for _ in range(2)]
    running = Stage(
        await servers[0].listen_tcp("127.0.0.1", 0),
        await servers[1].listen_tcp("127.0.0.1", 0, ssl=context),
    )
    proxy = await asyncio.start_server(running.serve, "127.0.0.1", 0)
    running.port = proxy.sockets[0].getsockname()[1]
    yield running
    proxy.close()
    for server in servers:
        await server.close(0)


@pytest.fixture
def client(
    request: pytest.FixtureRequest,
    stage: Stage,
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
) -> HttpClient:
    secure = request.param == "https"
    monkeypatch.setenv(f"{request.param}_proxy", f"http://u:p%40@127.0.0.1:{stage.port}")
    context = ssl.create_default_context() if secure else None
    if context is not None:
        authority.configure_trust(context)
    return outward_client("outside.test", 443 if secure else 8080, ssl=context)


@pytest.mark.parametrize("client", ["http"], indirect=True)
async def test_plain_requests_name_the_whole_url(client: HttpClient, stage: Stage) -> None:
    for _ in range(2):
        answer = await client.request("GET", b"/x?y", [(b"A", b"b")])
        assert (answer.status, await answer.read()) == (200, b"/x outside.test:8080")
    (head,) = stage.heads  # the proxy hands on what it gets; the second came the same way
    assert head.startswith(b"GET http://outside.test:8080/x?y HTTP/1.1\r\nHost: outside.test:8080")
    assert b"\r\nProxy-Authorization: Basic dTpwQA==\r\n" in head
    await client.close()


@pytest.mark.parametrize("client", ["https"], indirect=True)
async def test_tls_goes_through_a_tunnel(client: HttpClient, stage: Stage) -> None:
    for _ in range(2):
        answer = await client.request("GET", b"/x", [])
        assert (answer.status, await answer.read()) == (200, b"/x outside.test")
    (head,) = stage.heads
    assert head.startswith(b"CONNECT outside.test:443 HTTP/1.1\r\nHost: outside.test:443\r\n")
    assert b"\r\nProxy-Authorization: Basic dTpwQA==\r\n" in head
    await client.close()


@pytest.mark.parametrize("client", ["https"], indirect=True)
@pytest.mark.parametrize(
    ("refusal", "text"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 proxy authentication"),
        (b"SSH-2.0-x\r\n\r\n", "malformed http response"),
        (b"HTTP/1.1 200 OK\r\n\r\nmore", "200 ok"),
        (b"\r", "has closed the connection"),
        (b"x" * 70_000, "malformed http response"),
    ],
)
async def test_a_proxy_that_refuses(
    client: HttpClient, stage: Stage, refusal: bytes, text: str
) -> None:
    stage.refusal = refusal
    with pytest.raises(ConnectError) as failure:
        await client.request("GET", b"/x", [])
    assert str(failure.value).startswith(f"dial tcp 127.0.0.1:{stage.port}: connect: proxy ")
    assert text in str(failure.value)
    await client.close()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("socks5://127.0.0.1:1", "a proxy of the kind socks5:// is not supported"),
        ("http://proxy:none", "invalid proxy address"),
    ],
)
def test_proxies_that_cannot_be_used(url: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", url)
    with pytest.raises(ConnectError, match=text):
        outward_client("outside.test", 80)
    assert type(outward_client("127.0.0.1", 80)) is HttpClient
