"""Reaching a gRPC target: addresses in turn, TLS, the peer's identity, its HTTP/2 greeting."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl as tls
from collections.abc import Callable

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client_connection import ClientConnection
from dapr_common.grpc.errors import HandshakeError, RpcError, UnprocessedError
from dapr_common.http.response import dial_text

Make = Callable[[], ClientConnection]
_UNIX = "unix:"
_LAST_PORT = 65_535


async def dial(
    target: str,
    make: Make,
    *,
    ssl: tls.SSLContext | None,
    server_hostname: str | None,
    verify_peer: Callable[[tls.SSLObject], None] | None,
    timeout: float,
    silence: float | None = None,
) -> ClientConnection:
    """A connection that is ready for calls. Raises ``RpcError``, worded as Go's clients do.

    ``silence`` is how many seconds a host may leave unacknowledged what it is sent, then and later:
    one that vanished is known by it before a ping is due. As gRPC's client for Go does.
    """
    try:
        async with asyncio.timeout(timeout):
            if target.startswith(_UNIX):
                path = target[len(_UNIX) :].removeprefix("//")
                return await _dial_unix(path, make)
            return await _dial_tcp(target, make, ssl, server_hostname, verify_peer, silence)
    except TimeoutError as error:
        raise _dialing(f"dial tcp {target}: i/o timeout") from error


async def _dial_unix(path: str, make: Make) -> ClientConnection:
    loop = asyncio.get_running_loop()
    try:
        _, connection = await loop.create_unix_connection(make, path)
    except OSError as error:
        text = dial_text(path, error).replace("dial tcp", "dial unix", 1)
        raise _dialing(text) from error
    return await _greeted(connection)


async def _dial_tcp(
    target: str,
    make: Make,
    ssl: tls.SSLContext | None,
    server_hostname: str | None,
    verify_peer: Callable[[tls.SSLObject], None] | None,
    silence: float | None,
) -> ClientConnection:
    loop = asyncio.get_running_loop()
    host, colon, port = target.rpartition(":")
    if not (colon and port.isascii() and port.isdecimal() and int(port) <= _LAST_PORT):
        problem = "invalid port" if colon else "missing port in address"
        raise _dialing(f"dial tcp: address {target}: {problem}")
    host = host.strip("[]")
    name = (server_hostname or host) if ssl is not None else None
    failure: RpcError = _dialing(f"dial tcp: lookup {host}: no such host")
    for address in await _addresses(host, port):
        shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        try:
            opened = await _opened(address, int(port), silence)
            transport, connection = await loop.create_connection(
                make, sock=opened, ssl=ssl, server_hostname=name
            )
        except tls.SSLError as error:
            failure = _handshake(error)
        except TimeoutError:
            raise
        except OSError as error:
            failure = _dialing(dial_text(shown, error))
        else:
            if verify_peer is not None:
                _verify(verify_peer, transport)
            return await _greeted(connection)
    raise failure


async def _opened(address: str, port: int, silence: float | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.setblocking(False)
        if silence is not None and hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            milliseconds = round(silence * 1000)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        await asyncio.get_running_loop().sock_connect(opened, (address, port))
    except BaseException:
        opened.close()
        raise
    return opened


async def _addresses(host: str, port: str) -> list[str]:
    try:
        return [str(ipaddress.ip_address(host.partition("%")[0])) and host]
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the latter: a label longer than 63 characters
        raise _dialing(f"dial tcp: lookup {host}: no such host") from error
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def _verify(verify_peer: Callable[[tls.SSLObject], None], transport: asyncio.BaseTransport) -> None:
    try:
        verify_peer(transport.get_extra_info("ssl_object"))
    except RpcError:
        transport.close()
        raise
    except Exception as error:
        transport.close()
        raise _handshake(error) from error


async def _greeted(connection: ClientConnection) -> ClientConnection:
    try:
        await connection.greeted
    except OSError as error:
        text = str(error).replace("error reading from server", "error reading server preface", 1)
        text = f'connection error: desc = "{text}"'
        raise UnprocessedError(GrpcCode.UNAVAILABLE, text) from error
    except asyncio.CancelledError:
        connection.abort()
        raise
    return connection


def _dialing(text: str) -> UnprocessedError:
    return UnprocessedError(
        GrpcCode.UNAVAILABLE,
        f'connection error: desc = "transport: Error while dialing: {text}"',
    )


def _handshake(error: Exception) -> HandshakeError:
    text = f"transport: authentication handshake failed: {error}"
    return HandshakeError(GrpcCode.UNAVAILABLE, f'connection error: desc = "{text}"')
