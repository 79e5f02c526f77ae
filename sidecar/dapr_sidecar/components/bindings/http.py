"""``bindings.http``: requests to one base URL."""

from __future__ import annotations

import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

from dapr_common.http.headers import canonical
from dapr_common.http.proxy import proxy_of
from dapr_common.http.url import without_password
from dapr_common.words import is_truthy
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import (
    InvokeError,
    InvokeRequest,
    InvokeResponse,
    OutputBinding,
)
from dapr_sidecar.components.metadata import SettingsError, bytesize, setting
from dapr_sidecar.components.pem import load_pair

if TYPE_CHECKING:
    import aiohttp
    from multidict import CIMultiDictProxy

_JSON = "application/json; charset=utf-8"
_MAX_REDIRECTS = 10
_CONNECT_SECONDS = 15.0
_MAX_CONNECTIONS = 1024
_CHUNK = 64 << 10
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
# The client's own business, whatever a caller asks for.
_NOT_OURS_TO_SET = frozenset(
    {"Host", "Content-Length", "Transfer-Encoding", "Connection", "Trailer", "Upgrade"}
)
_TRACE = (("traceparent", "Traceparent"), ("tracestate", "Tracestate"), ("baggage", "Baggage"))


class Renegotiation(Enum):
    """When a server may ask for a new handshake."""

    NEVER = "RenegotiateNever"
    ONCE = "RenegotiateOnceAsClient"
    FREELY = "RenegotiateFreelyAsClient"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpBindingSettings:
    """Settings of ``bindings.http``; certificates are PEM text or the path of a file."""

    url: str = setting("url", help="base URL")
    root_ca: str = setting("MTLSRootCA", default="", help="PEM or path")
    client_cert: str = setting("MTLSClientCert", default="", help="PEM or path")
    client_key: str = setting("MTLSClientKey", default="", secret=True, help="PEM or path")
    renegotiation: Renegotiation = setting(
        "MTLSRenegotiation",
        default=Renegotiation.NEVER,
        help="whether a server may ask for a new handshake",
    )
    token: str = setting("securityToken", default="", secret=True, help="sent with requests")
    token_header: str = setting(
        "securityTokenHeader", default="", help="name of the header with the token"
    )
    response_timeout: timedelta | None = setting(
        "responseTimeout", default=None, help="how long a request may take"
    )
    error_if_not_2xx: bool = setting(
        "errorIfNot2XX", default=True, help="whether other statuses are failures"
    )
    max_body_bytes: int = setting(
        "maxResponseBodySize",
        default=100 << 20,
        parse=bytesize,
        help="the rest is cut off; 0 no limit",
    )


class HttpBinding(OutputBinding):
    """Operations are HTTP methods; ``create`` is POST."""

    settings: ClassVar[type[Any]] = HttpBindingSettings
    operations = ("create", "get", "head", "post", "put", "patch", "delete", "options", "trace")

    def __init__(self, settings: HttpBindingSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._options = settings
        self._url = settings.url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        import aiohttp

        options = self._options
        timeout = options.response_timeout
        total = timeout.total_seconds() if timeout is not None else 0.0
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=_MAX_CONNECTIONS, ssl=_tls(options), use_dns_cache=False
            ),
            timeout=aiohttp.ClientTimeout(
                total=total if total > 0 else None, sock_connect=_CONNECT_SECONDS
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type"),
            headers={"User-Agent": "Go-http-client/1.1"},
            trace_configs=[_without_token_elsewhere(options.token_header)] if options.token else [],
        )

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def invoke(self, request: InvokeRequest) -> InvokeResponse:
        method = "POST" if request.operation == "create" else request.operation.upper()
        if method not in _METHODS:
            raise ValueError(f"invalid operation: {request.operation}")
        metadata = request.metadata
        headers = self._headers(method, metadata)
        url = self._target(metadata.get("path"))
        status, answered, body = await self._send(method, url, headers, request.data)
        wanted = metadata.get("errorIfNot2XX")
        strict = self._options.error_if_not_2xx if wanted is None else is_truthy(wanted)
        if strict and not 200 <= status < 300:
            raise InvokeError(f"received status code {status}", answered)
        return InvokeResponse(body, answered)

    def _target(self, path: str | None) -> str:
        if path is None:
            return self._options.url
        if ".." in unquote(path.partition("?")[0]).split("/"):
            raise ValueError(f"invalid path: {path}")
        return f"{self._url}/{path.lstrip('/')}"

    def _headers(self, method: str, metadata: Mapping[str, str]) -> dict[str, str]:
        headers = {"Accept": _JSON, "Accept-Encoding": "gzip"}
        if method in _WITH_BODY:
            headers["Content-Type"] = _JSON
        for name, value in metadata.items():
            if "A" <= name[:1] <= "Z":
                spelled = canonical(name.encode()).decode()
                if spelled not in _NOT_OURS_TO_SET:
                    headers[spelled] = value
        for name, header in _TRACE:
            if value := metadata.get(name, ""):
                headers[header] = value
        options = self._options
        if options.token and options.token_header:
            headers[canonical(options.token_header.encode()).decode()] = options.token
        return headers

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        import aiohttp

        assert self._session is not None
        body = data if method in _WITH_BODY else None
        try:
            async with self._session.request(
                method,
                url,
                headers=headers,
                data=body,
                max_redirects=_MAX_REDIRECTS,
                proxy=proxy_of(url),
            ) as response:
                answered = _metadata(response.status, response.reason or "", response.headers)
                content = await self._read(response, answered)
                return response.status, answered, content
        except aiohttp.TooManyRedirects as error:
            raise ConnectionError(f"stopped after {_MAX_REDIRECTS} redirects") from error
        except TimeoutError as error:
            shown = without_password(url)
            raise TimeoutError(f'{method.capitalize()} "{shown}": deadline exceeded') from error
        except zlib.error as error:
            raise _malformed(method, url, "gzip") from error
        except aiohttp.ClientResponseError as error:
            raise _malformed(method, url, "HTTP response") from error
        except aiohttp.ClientError as error:
            shown, why = without_password(url), str(error).replace(url, without_password(url))
            raise ConnectionError(f'{method.capitalize()} "{shown}": {why}') from error

    async def _read(self, response: aiohttp.ClientResponse, answered: dict[str, str]) -> bytes:
        limit = self._options.max_body_bytes
        inflate = None
        sent = response.request_info.headers.get("Accept-Encoding")
        if sent == "gzip" and response.headers.get("Content-Encoding", "").lower() == "gzip":
            inflate = zlib.decompressobj(wbits=31)
            answered.pop("Content-Encoding", None)
            answered.pop("Content-Length", None)
        parts: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_chunked(_CHUNK):
            while chunk and not 0 < limit <= size:
                room = limit - size if limit > 0 else 0
                if inflate is None:
                    part, chunk = chunk[:room] if room else chunk, b""
                else:
                    part = inflate.decompress(chunk, room or _CHUNK)
                    chunk = inflate.unconsumed_tail
                parts.append(part)
                size += len(part)
            if 0 < limit <= size:
                break
        else:
            if inflate is not None and parts and not inflate.eof:
                raise zlib.error("it ends too early")
        return b"".join(parts)


def _without_token_elsewhere(header: str) -> aiohttp.TraceConfig:
    """The security token stays with the origin it is for, wherever that redirects to."""
    import aiohttp
    from yarl import URL

    async def redirected(
        session: aiohttp.ClientSession, context: object, what: aiohttp.TraceRequestRedirectParams
    ) -> None:
        here, there = what.url, what.url.join(URL(what.response.headers.get("Location", "")))
        if (there.scheme, there.host, there.port) != (here.scheme, here.host, here.port):
            what.headers.popall(header, None)

    following = aiohttp.TraceConfig()
    following.on_request_redirect.append(redirected)
    return following


def _malformed(method: str, url: str, what: str) -> ConnectionError:
    # The libraries tell of it in many lines, with Python's notation of what came.
    return ConnectionError(f'{method.capitalize()} "{without_password(url)}": malformed {what}')


def _metadata(status: int, reason: str, headers: CIMultiDictProxy[str]) -> dict[str, str]:
    found = {"statusCode": str(status), "status": f"{status} {reason}".rstrip()}
    for name in headers:
        spelled = canonical(name.encode("utf-8", "replace")).decode()
        if spelled not in found:
            found[spelled] = ", ".join(headers.getall(name))
    return found


def _tls(options: HttpBindingSettings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if options.root_ca:
        pem = _pem("MTLSRootCA", options.root_ca)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=pem)
        except (ssl.SSLError, ValueError) as error:
            raise SettingsError(f"invalid metadata field 'MTLSRootCA': {error}") from error
    if options.renegotiation is Renegotiation.NEVER:
        context.options |= ssl.OP_NO_RENEGOTIATION
    if bool(options.client_cert) != bool(options.client_key):
        raise SettingsError(
            "invalid metadata fields 'MTLSClientCert' and 'MTLSClientKey': give both or none"
        )
    if options.client_cert:
        load_pair(
            context,
            _pem("MTLSClientCert", options.client_cert),
            _pem("MTLSClientKey", options.client_key),
            ("MTLSClientCert", "MTLSClientKey"),
        )
    return context


def _pem(name: str, value: str) -> str:
    if "-----BEGIN" in value:
        return value
    try:
        return Path(value).read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"invalid metadata field '{name}': expected PEM text or the path of a file: {reason}"
        ) from error
