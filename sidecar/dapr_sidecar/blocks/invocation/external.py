"""Calls to HTTP endpoints outside Dapr: ``HTTPEndpoint`` resources and URLs."""

from __future__ import annotations

import asyncio
import re
import ssl
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from dapr_common.http.client import ClientResponse, HttpClient
from dapr_common.http.messages import Header, Request, Response
from dapr_common.http.url import without_password
from dapr_common.kube.resources import HttpEndpoint
from dapr_sidecar.blocks.invocation.app import (
    ResponseBody,
    check_verb,
    http_answer,
    http_path,
    without_blanks,
)
from dapr_sidecar.components.middleware.pipeline import Wrapper, wrapped
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.messaging.call import Answer, Invocation, InvocationError
from dapr_sidecar.messaging.headers import request_headers

_CONNECT_SECONDS = 15.0
_MOST_REDIRECTS = 10
_MANY_CLIENTS = 128


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a connection goes, and with which TLS."""

    scheme: str
    host: str
    port: int
    endpoint: HttpEndpoint | None


class ExternalCaller:
    """Keeps one client per origin."""

    def __init__(self, context: SidecarContext) -> None:
        self._context = context
        self._clients: dict[_Origin, HttpClient] = {}
        self._wrappers: Sequence[Wrapper] = ()

    def set_middlewares(self, wrappers: Sequence[Wrapper]) -> None:
        """Wrap calls in these from now on."""
        self._wrappers = wrappers

    async def call(self, call: Invocation) -> Answer:
        """Call the endpoint. Raises ``OSError`` or ``InvocationError``."""
        check_verb(call)
        endpoint = self._context.components.http_endpoints.get(call.target)
        base = call.target if endpoint is None else endpoint.base_url
        headers = request_headers(call.metadata, call.content_type, from_grpc=call.from_grpc)
        if endpoint is not None:
            headers = _with_own(headers, endpoint)
        url = base.rstrip("/").encode() + http_path(call)
        if self._wrappers:
            return await self._piped(call, url, headers, endpoint)
        response = await self._request(call, url, headers, endpoint)
        return await http_answer(call, response)

    async def close(self) -> None:
        """Close every connection."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()

    async def _piped(
        self, call: Invocation, url: bytes, headers: list[Header], endpoint: HttpEndpoint | None
    ) -> Answer:
        base, _, query = url.partition(b"?")
        rooted = base.find(b"/", base.find(b"://") + 3)
        origin, path = (base, b"/") if rooted < 0 else (base[:rooted], base[rooted:])
        sent = call

        async def innermost(request: Request) -> Response:
            tail = b"?" + request.query if request.query else b""
            inner = Invocation(sent.target, sent.method, verb=request.method)
            inner.body = await request.read()
            response = await self._request(
                inner, origin + request.path + tail, list(request.headers), endpoint
            )
            if response.complete:
                return Response(response.status, response.headers, await response.read())
            return Response(response.status, response.headers, ResponseBody(response))

        lowered = [(name.lower(), value) for name, value in headers]
        request = Request(call.verb, path, query, lowered, body=await call.keep_body())
        response = await wrapped(innermost, self._wrappers)(request)
        pairs = [(name.lower(), value) for name, value in response.headers]
        content_type = next((v for n, v in pairs if n == b"content-type"), b"")
        return Answer(response.status, pairs, content_type.decode("latin-1"), response.body)

    async def _request(
        self, call: Invocation, url: bytes, headers: list[Header], endpoint: HttpEndpoint | None
    ) -> ClientResponse:
        verb = call.verb
        text = url.decode("utf-8", "surrogateescape")
        for _ in range(_MOST_REDIRECTS):
            client, target = await self._client(text, endpoint)
            body = call.outgoing()
            sent = _with_credentials(headers, text) if "@" in text else headers
            response = await client.request(
                verb, target, sent, body, content_length=call.content_length
            )
            location = response.header(b"location")
            follow = endpoint is not None and location and response.status in _REDIRECTS
            if not follow or (call.body is None and response.status in (307, 308)):
                return response
            assert location is not None
            response.close()
            verb, text, headers = _redirected(
                verb, response.status, text, location.decode("latin-1"), headers, endpoint
            )
            if verb == "GET":
                call = Invocation(call.target, call.method, verb=verb)
        shown = verb.capitalize()  # as Go's client words it
        text = without_password(text)
        raise InvocationError(f'{shown} "{text}": stopped after {_MOST_REDIRECTS} redirects')

    async def _client(self, url: str, endpoint: HttpEndpoint | None) -> tuple[HttpClient, bytes]:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _no_url(url)
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise _no_url(url) from error
        origin = _Origin(parts.scheme, parts.hostname, port, endpoint)
        client = self._clients.get(origin)
        if client is None:
            client = await self._new(origin)
        target = parts.path or "/"
        if parts.query:
            target += "?" + parts.query
        return client, without_blanks(target.encode("utf-8", "surrogateescape"))

    async def _new(self, origin: _Origin) -> HttpClient:
        from dapr_common.http.proxy import outward_client  # only where something is called outside

        context = None
        if origin.scheme == "https":
            context = await asyncio.to_thread(_tls, origin.endpoint)
        if len(self._clients) >= _MANY_CLIENTS:
            await self._forget_unused()
        if (made := self._clients.get(origin)) is not None:  # by a call that came meanwhile
            return made
        client = self._clients[origin] = outward_client(
            origin.host, origin.port, ssl=context, connect_timeout=_CONNECT_SECONDS
        )
        return client

    async def _forget_unused(self) -> None:
        """Close the client that is there for longest among those without a call."""
        unused = next((one for one, client in self._clients.items() if not client.busy), None)
        if unused is not None:
            await self._clients.pop(unused).close()


_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What follows from where a request goes and what it carries, as in Go's client.
_OF_THE_REQUEST = frozenset({b"host", b"content-length", b"transfer-encoding", b"trailer"})
_SECRET = frozenset({b"authorization", b"cookie", b"www-authenticate", b"dapr-api-token"})


def _redirected(
    verb: str,
    status: int,
    url: str,
    location: str,
    headers: list[Header],
    endpoint: HttpEndpoint | None,
) -> tuple[str, str, list[Header]]:
    """The request that follows a redirect: as Go's client makes it, but secrets stay at home.

    Whoever is redirected to gets neither credentials nor the headers the endpoint adds.
    """
    following = urljoin(url, location)
    if status in (301, 302, 303) and verb not in ("GET", "HEAD"):
        verb = "GET"
        headers = [pair for pair in headers if pair[0].lower() != b"content-type"]
    if _origin(following) != _origin(url):
        added = {header.name.lower().encode() for header in endpoint.headers} if endpoint else set()
        headers = [pair for pair in headers if pair[0].lower() not in _SECRET | added]
    return verb, following, headers


def _no_url(url: str) -> InvocationError:
    return InvocationError(f"invalid URL for service invocation: {without_password(url)}")


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _with_own(headers: list[Header], endpoint: HttpEndpoint) -> list[Header]:
    """The endpoint's own headers, over those of the caller; of two with one name the last.

    Raises ``InvocationError`` for what is no name of a header.
    """
    own: dict[bytes, Header] = {}
    for header in endpoint.headers:
        name = header.name.encode()
        if _NAME.fullmatch(name) is None:
            raise InvocationError(f'net/http: invalid header field name "{header.name}"')
        if (key := name.lower()) not in _OF_THE_REQUEST:
            own[key] = (name, (header.value or "").encode("utf-8", "replace"))
    if not own:
        return headers
    return [pair for pair in headers if pair[0].lower() not in own] + list(own.values())


def _with_credentials(headers: list[Header], url: str) -> list[Header]:
    """The user and password of a URL, unless the caller or the endpoint says who it is."""
    user, at, _ = urlsplit(url).netloc.rpartition("@")
    if not at or any(name.lower() == b"authorization" for name, _ in headers):
        return headers
    name, _, password = user.partition(":")
    pair = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
    return [*headers, (b"Authorization", b"Basic " + b64encode(pair))]


def _tls(endpoint: HttpEndpoint | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if endpoint is None:
        return context
    if endpoint.root_ca is not None and endpoint.root_ca.value:
        context = ssl.create_default_context(cadata=endpoint.root_ca.value)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate, key = endpoint.certificate, endpoint.private_key
    if certificate is not None and certificate.value and key is not None and key.value:
        # The ssl module reads certificates from files only.
        import tempfile  # it brings compression libraries, for endpoints with certificates only

        with tempfile.TemporaryDirectory(prefix="dapr-endpoint-") as directory:
            chain = Path(directory) / "client.pem"
            chain.touch(mode=0o600)
            chain.write_text(f"{certificate.value}\n{key.value}\n")
            context.load_cert_chain(chain, password="")  # else OpenSSL asks on a terminal
    return context
