"""A real redis-server on a free port, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

from harness.programs import free_port


@dataclass(frozen=True)
class RedisServer:
    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def call(self, *arguments: str | bytes) -> str:
        """One command by redis-cli; the raw answer."""
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port), *arguments],
            capture_output=True,
            check=True,
            timeout=30,
        )
        return done.stdout.decode().strip()


def is_available() -> bool:
    return shutil.which("redis-server") is not None


@contextlib.contextmanager
def redis_server(*flags: str, port: int = 0) -> Iterator[RedisServer]:
    """Start one, wait until it answers, and end it afterwards; ``port`` instead of any."""
    with tempfile.TemporaryDirectory() as folder:
        process, port = _start(folder, flags, port)
        try:
            yield RedisServer(port)
        finally:
            process.terminate()
            process.wait(30)


class DurableRedis:
    """A server that writes every command to disk, and can be killed and started again."""

    def __init__(self, folder: str, *, durable: bool = True) -> None:
        self._folder = folder
        self._flags = ("--appendonly", "yes", "--appendfsync", "always") if durable else ()
        self._process, self.port = _start(folder, self._flags)

    @property
    def server(self) -> RedisServer:
        return RedisServer(self.port)

    def kill(self) -> None:
        """As if its machine were gone."""
        self._process.kill()
        self._process.wait(30)

    def start(self) -> None:
        """On the same port, with what it had written."""
        self._process = _launch(self._folder, self._flags, self.port)
        if not _answers(self._process, self.port):
            raise RuntimeError("redis-server does not start again")


def _start(
    folder: str, flags: tuple[str, ...], wanted: int = 0
) -> tuple[subprocess.Popen[bytes], int]:
    port = wanted or free_port()
    process = _launch(folder, flags, port)
    if not _answers(process, port):
        process.kill()
        process.wait()
        raise RuntimeError("redis-server does not start")
    return process, port


def _launch(folder: str, flags: tuple[str, ...], port: int) -> subprocess.Popen[bytes]:
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1"]
    return subprocess.Popen(
        [*command, "--save", "", "--dir", folder, *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as s:
            s.sendall(b"PING\r\n")
            if s.recv(16).startswith(b"+PONG"):
                return True
        time.sleep(0.01)
    return False
