from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from harness.block_api import make

from dapr_sidecar.components.bindings.base import InvokeError, InvokeRequest, InvokeResponse
from dapr_sidecar.components.bindings.http import HttpBinding
from dapr_sidecar.components.metadata import SettingsError

Serve = Callable[..., Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners: list[web.AppRunner] = []

    async def start(handler: Any, tls: ssl.SSLContext | None = None) -> str:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{tail:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        port = runner.addresses[0][1]
        return f"http{'s' if tls else ''}://127.0.0.1:{port}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def binding() -> AsyncIterator[Callable[..., Awaitable[HttpBinding]]]:
    made: list[HttpBinding] = []

    async def start(**properties: str) -> HttpBinding:
        found: HttpBinding = make(HttpBinding, "web", **properties)
        made.append(found)
        await found.open()
        return found

    yield start
    for one in made:
        await one.close()


Make = Callable[..., Awaitable[HttpBinding]]


class Target:
    """Keeps what came, answers what it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer: Callable[[], web.StreamResponse] = lambda: web.Response(text="ok")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append((request.method, request.path_qs, headers, await request.read()))
        return self.answer()


async def call(binding: HttpBinding, operation: str, data: bytes = b"", **metadata: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in metadata.items()}
    return await binding.invoke(InvokeRequest(operation, data, named))


async def test_methods_paths_and_bodies(serve: Serve, binding: Make) -> None:
    target = Target()
    web_binding = await binding(url=await serve(target.handle) + "/base/")
    await call(web_binding, "create", b'{"a":1}', path="/x?q=1 2")
    await call(web_binding, "get", b"ignored")
    for operation in ("head", "put", "patch", "delete", "options", "trace"):
        await call(web_binding, operation, b"b", path="p")
    method, path, headers, body = target.got[0]
    assert (method, path, body) == ("POST", "/base/x?q=1+2", b'{"a":1}')
    assert headers["content-type"] == headers["accept"] == "application/json; charset=utf-8"
    method, path, headers, body = target.got[1]
    assert (method, path, body) == ("GET", "/base/", b"")
    assert "content-type" not in headers
    assert [(m, b) for m, _, _, b in target.got[2:]] == [
        ("HEAD", b""),
        ("PUT", b"b"),
        ("PATCH", b"b"),
        ("DELETE", b""),
        ("OPTIONS", b""),
        ("TRACE", b""),
    ]


async def test_request_headers(serve: Serve, binding: Make) -> None:
    target = Target()
    web_binding = await binding(
        url=await serve(target.handle), securityToken="t0ken", securityTokenHeader="X-Token"
    )
    await call(
        web_binding,
        "post",
        b"x",
        Content_Type="text/plain",
        Accept="*/*",
        X_Mine="1",
        Host="evil",
        Content_Length="9",
        X_Token="other",
        lower="no",
        traceparent="00-1",
        Traceparent="00-2",
        tracestate="s",
        baggage="b=1",
    )
    headers = target.got[0][2]
    assert headers["content-type"] == "text/plain"
    assert headers["accept"] == "*/*"
    assert headers["x-mine"] == "1"
    assert headers["x-token"] == "t0ken"
    assert headers["host"].startswith("127.0.0.1")
    assert headers["content-length"] == "1"
    assert headers["traceparent"] == "00-1"
    assert (headers["tracestate"], headers["baggage"]) == ("s", "b=1")
    assert "lower" not in headers
    assert headers["user-agent"] == "Go-http-client/1.1"


async def test_a_header_cannot_split_the_request(serve: Serve, binding: Make) -> None:
    target = Target()
    web_binding = await binding(url=await serve(target.handle))
    with pytest.raises(ValueError):
        await call(web_binding, "get", X_A="1\r\nX-B: 2")
    assert target.got == []


async def test_answer_and_its_metadata(serve: Serve, binding: Make) -> None:
    target = Target()

    def answer() -> web.Response:
        response = web.Response(body=b"\x00raw", status=201)
        response.headers.add("x-many", "1")
        response.headers.add("X-Many", "2")
        return response

    target.answer = answer
    response = await call(await binding(url=await serve(target.handle)), "get")
    assert response.data == b"\x00raw"
    assert response.metadata["statusCode"] == "201"
    assert response.metadata["status"] == "201 Created"
    assert response.metadata["X-Many"] == "1, 2"
    assert response.metadata["Content-Type"] == "application/octet-stream"


async def test_status_that_is_no_success(serve: Serve, binding: Make) -> None:
    target = Target()
    target.answer = lambda: web.Response(status=404, text="nope")
    url = await serve(target.handle)
    strict, lenient = await binding(url=url), await binding(url=url, errorIfNot2XX="false")
    with pytest.raises(InvokeError, match="received status code 404") as caught:
        await call(strict, "get")
    assert caught.value.metadata["statusCode"] == "404"
    assert (await call(strict, "get", errorIfNot2XX="false")).data == b"nope"
    assert (await call(lenient, "get")).data == b"nope"
    with pytest.raises(InvokeError):
        await call(lenient, "get", errorIfNot2XX="true")


async def test_compressed_answers(serve: Serve, binding: Make) -> None:
    target = Target()
    text = b"hello " * 50_000

    def answer() -> web.Response:
        return web.Response(body=gzip.compress(text), headers={"Content-Encoding": "gzip"})

    target.answer = answer
    url = await serve(target.handle)
    response = await call(await binding(url=url), "get")
    assert response.data == text
    assert "Content-Encoding" not in response.metadata
    raw = await call(await binding(url=url), "get", Accept_Encoding="gzip, br")
    assert raw.data[:2] == b"\x1f\x8b"
    assert raw.metadata["Content-Encoding"] == "gzip"
    small = await call(await binding(url=url, maxResponseBodySize="1000"), "get")
    assert small.data == text[:1000]


@pytest.mark.parametrize("body", [b"plain", gzip.compress(b"hello " * 5000)[:-12]])
async def test_gzip_that_is_none(serve: Serve, binding: Make, body: bytes) -> None:
    target = Target()
    target.answer = lambda: web.Response(body=body, headers={"Content-Encoding": "gzip"})
    web_binding = await binding(url=await serve(target.handle))
    with pytest.raises(ConnectionError, match=r'^Get "http://127.0.0.1:\d+": malformed gzip$'):
        await call(web_binding, "get")


async def test_an_answer_that_is_no_http(binding: Make) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://user:w0rd@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        expected = r'^Get "http://user:\*\*\*@127.0.0.1:\d+": malformed HTTP response$'
        with pytest.raises(ConnectionError, match=expected):
            await call(await binding(url=url), "get")


@pytest.mark.parametrize(
    ("limit", "length"), [("10", 10), ("1Ki", 1024), ("0", 5000), ("-1", 5000), ("5000", 5000)]
)
async def test_long_answers_are_cut(serve: Serve, binding: Make, limit: str, length: int) -> None:
    target = Target()
    target.answer = lambda: web.Response(body=b"x" * 5000)
    web_binding = await binding(url=await serve(target.handle), maxResponseBodySize=limit)
    assert len((await call(web_binding, "get")).data) == length


async def test_redirects(serve: Serve, binding: Make) -> None:
    target = Target()
    url = await serve(target.handle)

    async def once(request: web.Request) -> web.Response:
        raise web.HTTPFound(url + "/there")

    async def for_ever(request: web.Request) -> web.Response:
        raise web.HTTPFound("/again")

    response = await call(await binding(url=await serve(once)), "get")
    assert response.data == b"ok"
    with pytest.raises(ConnectionError, match="stopped after 10 redirects"):
        await call(await binding(url=await serve(for_ever)), "get")


async def test_the_security_token_stays_with_its_origin(serve: Serve, binding: Make) -> None:
    target = Target()
    there = await serve(target.handle)
    where = iter(("/again", there + "/there"))

    async def elsewhere(request: web.Request) -> web.Response:
        assert request.headers["X-Token"] == "t0ken"
        raise web.HTTPTemporaryRedirect(next(where))

    url = await serve(elsewhere)
    web_binding = await binding(url=url, securityToken="t0ken", securityTokenHeader="x-token")
    response = await call(web_binding, "post", b"b", Other="o")
    assert response.data == b"ok"
    [(method, path, headers, body)] = target.got
    assert (method, path, body, headers["other"]) == ("POST", "/there", b"b", "o")
    assert "x-token" not in headers


async def test_errors_do_not_tell_the_password(serve: Serve, binding: Make) -> None:
    async def slow(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    url = (await serve(slow)).replace("//", "//user:pass:w0rd@")
    web_binding = await binding(url=url, responseTimeout="50ms")
    with pytest.raises(TimeoutError, match=r'Get "http://user:\*\*\*@127') as timeout:
        await call(web_binding, "get")
    assert "w0rd" not in str(timeout.value)
    nowhere = await binding(url="http://user:pass:w0rd@127.0.0.1:1/a")
    with pytest.raises(ConnectionError, match=r'Get "http://user:\*\*\*@127.0.0.1:1/a"') as refused:
        await call(nowhere, "get")
    assert "w0rd" not in str(refused.value)


async def test_timeout(serve: Serve, binding: Make) -> None:
    async def slow(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    web_binding = await binding(url=await serve(slow), responseTimeout="50ms")
    with pytest.raises(TimeoutError, match="deadline exceeded"):
        await call(web_binding, "get")


async def test_nobody_there(binding: Make) -> None:
    with pytest.raises(ConnectionError, match=r'Get "http://127.0.0.1:1": '):
        await call(await binding(url="http://127.0.0.1:1"), "get")


@pytest.mark.parametrize("path", ["../x", "a/../../x", "a/%2e%2E/x"])
async def test_paths_stay_below_the_url(binding: Make, path: str) -> None:
    with pytest.raises(ValueError, match="invalid path"):
        await call(await binding(url="http://127.0.0.1:1"), "get", path=path)


# --- TLS ----------------------------------------------------------------------------------------


async def test_mutual_tls(serve: Serve, binding: Make, tmp_path: Path) -> None:
    ca = trustme.CA()
    certificate = ca.issue_cert("127.0.0.1")
    client = ca.issue_cert("client")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    url = await serve(Target().handle, context)
    root = ca.cert_pem.bytes().decode()
    key_file = tmp_path / "key.pem"
    key_file.write_bytes(client.private_key_pem.bytes())
    pair = {
        "MTLSClientCert": client.cert_chain_pems[0].bytes().decode(),
        "MTLSClientKey": str(key_file),
    }
    response = await call(await binding(url=url, MTLSRootCA=root, **pair), "get")
    assert isinstance(response, InvokeResponse)
    assert response.data == b"ok"
    with pytest.raises(ConnectionError):
        await call(await binding(url=url, MTLSRootCA=root), "get")
    with pytest.raises(ConnectionError):
        await call(await binding(url=url, **pair), "get")


@pytest.mark.parametrize(
    ("properties", "field"),
    [
        ({"MTLSRootCA": "/no/such/file"}, "MTLSRootCA"),
        ({"MTLSRootCA": "-----BEGIN CERTIFICATE-----\nx"}, "MTLSRootCA"),
        ({"MTLSClientCert": "-----BEGIN x"}, "MTLSClientKey"),
        (
            {"MTLSClientCert": "-----BEGIN x", "MTLSClientKey": "-----BEGIN hidden"},
            "MTLSClientCert",
        ),
        ({"MTLSRenegotiation": "Sometimes"}, "RenegotiateNever"),
        ({"maxResponseBodySize": "lots"}, "maxResponseBodySize"),
    ],
)
async def test_bad_settings_name_the_field(
    binding: Make, properties: dict[str, str], field: str
) -> None:
    with pytest.raises(SettingsError, match=field) as caught:
        await binding(url="http://x", **properties)
    assert "hidden" not in str(caught.value)


async def test_a_proxy_leads_outside(
    serve: Serve, binding: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target()
    monkeypatch.setenv("HTTP_PROXY", await serve(target.handle))
    found = await binding(url="http://outside.test/base")
    await found.invoke(InvokeRequest("get", b"", {"path": "x"}))
    assert target.got[0][2]["host"] == "outside.test"
