"""Processes of a benchmark: started on a chosen core, awaited until ready, always ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.machine import children_on, cpu_seconds, resident_bytes

_READY_SECONDS = 30.0
_POLL_SECONDS = 0.002
_STOP_SECONDS = 10.0
_LOG_TAIL = 1500


class BenchmarkError(Exception):
    """The benchmark cannot go on; the text says why."""


class Program:
    """A running process and the file with its output."""

    def __init__(
        self,
        command: Sequence[str],
        cores: frozenset[int],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        self.started = time.perf_counter()
        with children_on(cores), log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(environment or {}, log.parent),
            )

    @property
    def cpu(self) -> float:
        """Seconds on the processor since the start."""
        return cpu_seconds(self._process.pid)

    @property
    def resident(self) -> int:
        """Resident bytes now."""
        return resident_bytes(self._process.pid)

    async def ready(self, port: int, path: str = "/v1.0/healthz") -> tuple[float, float]:
        """Wait until ``path`` answers 2xx. Returns wall and CPU seconds since the start."""
        while time.perf_counter() - self.started < _READY_SECONDS:
            if await _answers(port, path):
                return time.perf_counter() - self.started, self.cpu
            if self._process.poll() is not None:
                break
            await asyncio.sleep(_POLL_SECONDS)
        raise BenchmarkError(
            f"{self._process.args!r} did not become ready; the end of its output:\n{self.tail()}"
        )

    def tail(self) -> str:
        """The end of what the process printed."""
        return self.log.read_text(errors="replace")[-_LOG_TAIL:]

    async def stop(self) -> None:
        """Ask the process to end, and end it when it does not."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)


def _environment(extra: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Ours, with bytecode kept between starts as an installed program has it."""
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder / "bytecode"), **extra}


def free_port() -> int:
    """A TCP port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def start_redis(cores: frozenset[int], folder: Path) -> tuple[Program, int]:
    """A Redis server that keeps nothing on disk."""
    program = shutil.which("redis-server")
    if program is None:
        raise BenchmarkError("redis-server is not installed: the benchmark needs it")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir"]
    redis = Program([*command, str(folder)], cores, folder / "redis.log")
    deadline = time.perf_counter() + _READY_SECONDS
    while await redis_call(port, "PING") != b"+PONG":
        if time.perf_counter() > deadline:
            await redis.stop()
            raise BenchmarkError(f"redis-server did not become ready:\n{redis.tail()}")
        await asyncio.sleep(_POLL_SECONDS)
    return redis, port


async def redis_call(port: int, *words: str) -> bytes:
    """One inline command; the first line of the reply, empty when Redis is not there."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(" ".join(words).encode() + b"\r\n")
        line = await reader.readline()
        writer.close()
    except OSError:
        return b""
    return line.strip()


async def _answers(port: int, path: str) -> bool:
    line = b""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        line = await reader.readline()
        writer.close()
    return line.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2"))
