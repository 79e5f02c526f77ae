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


async def dial(
    target: str,
    make: Make,
    *,
    ssl: tls.SSLContext | None,
    server_hostname: str | None,
    verify_peer: Callable[[tls.SSLObject], None] | None,
    timeout: float,
) -> ClientConnection:
    """A connection that is ready for calls. Raises ``RpcError``, worded as Go's clients do."""
    try:
        async with asyncio.timeout(timeout):
            if target.startswith(_UNIX):
                path = target[len(_UNIX) :].removeprefix("//")
                return await _dial_unix(path, make)
            return await _dial_tcp(target, make, ssl, server_hostname, verify_peer)
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
) -> ClientConnection:
    loop = asyncio.get_running_loop()
    host, _, port = target.rpartition(":")
    host = host.strip("[]")
    name = (server_hostname or host) if ssl is not None else None
    failure: RpcError = _dialing(f"dial tcp: lookup {host}: no such host")
    for address in await _addresses(host, port):
        shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        try:
            transport, connection = await loop.create_connection(
                make, address, int(port), ssl=ssl, server_hostname=name
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


async def _addresses(host: str, port: str) -> list[str]:
    try:
        return [str(ipaddress.ip_address(host.partition("%")[0])) and host]
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError as error:
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
