"""Outward through a proxy: what HTTP_PROXY, HTTPS_PROXY and NO_PROXY say, as Go's programs read it.

For calls to services elsewhere; apps, other sidecars and the control plane are called directly.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes, urlsplit

from dapr_common.http.client import HttpClient
from dapr_common.http.messages import Header
from dapr_common.http.response import Body, ClientResponse, ConnectError

_VARIABLES = {"http": ("HTTP_PROXY", "http_proxy"), "https": ("HTTPS_PROXY", "https_proxy")}
_EXCEPTIONS = ("NO_PROXY", "no_proxy")
_MOST_HEAD_BYTES = 64 << 10
_Protocol = TypeVar("_Protocol", bound=asyncio.BaseProtocol)


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where a proxy listens, and what it is told."""

    host: str
    port: int
    credentials: bytes = b""
    """User and password, with a colon between; empty for none."""

    @property
    def authorization(self) -> list[Header]:
        """The header that says who asks."""
        if not self.credentials:
            return []
        return [(b"Proxy-Authorization", b"Basic " + b64encode(self.credentials))]

    @property
    def shown(self) -> str:
        """``host:port``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def outward_client(host: str, port: int, *, ssl: Any = None, **options: Any) -> HttpClient:
    """A client for a service elsewhere. Raises ``ConnectError`` for a proxy that cannot be used."""
    url = proxy_url("http" if ssl is None else "https", host, port, os.environ)
    if not url:
        return HttpClient(host, port, ssl=ssl, **options)
    return ProxiedClient(_parsed(url), host, port, ssl=ssl, **options)


def proxy_url(scheme: str, host: str, port: int, environment: Mapping[str, str]) -> str:
    """The proxy to this target; empty where there is none."""
    url = _first(environment, _VARIABLES[scheme])
    if not url or not _is_proxied(host, port, _first(environment, _EXCEPTIONS)):
        return ""
    parts = urlsplit(url)
    return url if parts.scheme and parts.netloc else f"http://{url}"


def proxy_of(url: str) -> str | None:
    """The proxy to the host of a URL, for clients that take it as one; ``None``: there is none."""
    parts = urlsplit(url)
    if parts.scheme not in _VARIABLES or not parts.hostname:
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return proxy_url(parts.scheme, parts.hostname, port, os.environ) or None


class ProxiedClient(HttpClient):
    """Requests to one host and port, all through one proxy."""

    def __init__(self, proxy: Proxy, host: str, port: int, **options: Any) -> None:
        super().__init__(host, port, **options)
        self._proxy = proxy

    async def request(
        self,
        method: str,
        target: bytes,
        headers: list[Header],
        body: Body = None,
        *,
        content_length: int | None = None,
    ) -> ClientResponse:
        """As ``HttpClient.request``: plain HTTP names the whole URL, TLS goes through a tunnel."""
        if self._ssl is None:
            target = b"http://%b%b" % (self.authority, target)
            headers = [*headers, *self._proxy.authorization]
        return await super().request(method, target, headers, body, content_length=content_length)

    async def _reach(self, make: Callable[[], _Protocol]) -> _Protocol:
        loop = asyncio.get_running_loop()
        proxy = self._proxy
        try:
            if self._ssl is None:
                _, connection = await loop.create_connection(make, proxy.host, proxy.port)
                return connection
            asked = self._host_and_port().encode()
            tunnel, asking = await loop.create_connection(
                lambda: _Tunnel(asked, proxy), proxy.host, proxy.port
            )
        except socket.gaierror as error:
            raise OSError(f"lookup {proxy.host}: no such host") from error
        try:
            await asking.open
            connection = make()
            secure = await loop.start_tls(
                tunnel, connection, self._ssl, server_hostname=self._server_hostname or self._host
            )
        except BaseException:
            tunnel.abort()
            raise
        assert secure is not None
        connection.connection_made(secure)
        return connection

    def _host_and_port(self) -> str:
        return super()._shown()

    def _shown(self) -> str:
        return self._proxy.shown


class _Tunnel(asyncio.Protocol):
    """Asks a proxy for a way to a host; ``open`` is done when there is one."""

    def __init__(self, target: bytes, proxy: Proxy) -> None:
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._target = target
        self._proxy = proxy
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        lines = [b"CONNECT %b HTTP/1.1" % self._target, b"Host: " + self._target]
        lines += [b": ".join(pair) for pair in self._proxy.authorization]
        transport.write(b"\r\n".join([*lines, b"", b""]))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if (not end and len(head) <= _MOST_HEAD_BYTES) or self.open.done():
            return
        version, _, status = head.partition(b"\r\n")[0].partition(b" ")
        if version.startswith(b"HTTP/1.") and status[:3] == b"200" and not rest:
            self.open.set_result(None)
            return
        text = status.decode("latin-1") or "malformed HTTP response"
        self._fail(f"proxy {self._proxy.shown}: {text}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"proxy {self._proxy.shown} has closed the connection")

    def _fail(self, text: str) -> None:
        if not self.open.done():
            self.open.set_exception(OSError(text))


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")


def _parsed(url: str) -> Proxy:
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError as error:
        raise ConnectError(f"invalid proxy address: {error}") from error
    if parts.scheme != "http" or not parts.hostname:
        raise ConnectError(f"a proxy of the kind {parts.scheme}:// is not supported: use http://")
    user, at, _ = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    credentials = unquote_to_bytes(name) + b":" + unquote_to_bytes(password) if at else b""
    return Proxy(parts.hostname, port, credentials)


# --- exceptions -------------------------------------------------------------------------------


def _is_proxied(host: str, port: int, exceptions: str) -> bool:
    host = host.lower()
    address = _address(host)
    if host == "localhost" or (
        # What a machine asks about itself (metadata services of clouds) no proxy can answer.
        address is not None and (address.is_loopback or address.is_link_local)
    ):
        return False
    entries = [entry.strip().lower() for entry in exceptions.split(",")]
    return not any(_excepts(entry, host, port, address) for entry in entries if entry)


def _excepts(
    entry: str,
    host: str,
    port: int,
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None,
) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, wanted = entry, ""
    if entry.startswith("["):
        name, _, wanted = entry[1:].partition("]")
        wanted = wanted.lstrip(":")
    elif entry.count(":") == 1:
        name, _, wanted = entry.partition(":")
    if not name or (wanted and wanted != str(port)):
        return False
    if (excepted := _address(name)) is not None:
        return excepted == address
    name = name.removeprefix("*")
    return host.endswith(name if name.startswith(".") else f".{name}") or host == name


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
