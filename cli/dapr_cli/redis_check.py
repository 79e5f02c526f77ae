"""Whether a Redis server can be used."""

from __future__ import annotations

import socket

from dapr_cli.errors import CliError, reason

_SECONDS = 3.0


def split_address(address: str) -> tuple[str, int]:
    """``host:port`` or ``host``. Raises ``CliError``."""
    host, _, port = address.rpartition(":") if ":" in address else (address, "", "6379")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise CliError(f"'{address}' is no address of a Redis server: use host:port")
    return host.strip("[]"), int(port)


def check_redis(address: str) -> None:
    """Say PING to it. Raises ``CliError`` with what is wrong."""
    try:
        with socket.create_connection(split_address(address), _SECONDS) as connection:
            connection.sendall(b"PING\r\n")
            answer = connection.recv(256)
    except OSError as error:
        raise CliError(
            f"no Redis server answers at {address}: {reason(error)}",
            "Start one, or run 'dapr init' without --redis: the embedded components need none.",
        ) from error
    if answer.startswith(b"-NOAUTH"):
        raise CliError(
            f"the Redis server at {address} asks for a password",
            "Write the components yourself and set redisPassword in them.",
        )
    if not answer.startswith(b"+PONG"):
        raise CliError(f"what listens at {address} is no Redis server")
