"""Tells the processes that share a file that something new is in it: one datagram each.

Every process listens on a Unix datagram socket in a folder beside the file. A lost datagram costs
only time: readers look by themselves now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import stat
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

_LONGEST_PATH = 90  # the kernel takes 108 bytes; a socket's name is 12
_DATAGRAM = 4096
_BIND_ATTEMPTS = 5
_CLOCK_TICK_NS = 100_000_000


def wake_folder(database: Path) -> Path:
    """The folder of a database's sockets, the same for every process."""
    beside = database.with_name(database.name + "-wake")
    if len(os.fsencode(beside)) <= _LONGEST_PATH:
        return beside
    digest = hashlib.sha256(os.fsencode(database)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"dapr-wake-{os.getuid()}-{digest}"


class WakeBell:
    """Rings for every process that listens, and calls back when another one rang."""

    def __init__(self, database: Path, on_ring: Callable[[str], None]) -> None:
        """``on_ring`` gets the topic."""
        self._folder = wake_folder(database)
        self._on_ring = on_ring
        self._path = self._folder / uuid.uuid4().hex[:12]
        self._socket: socket.socket | None = None
        self._sender: socket.socket | None = None
        self._peers: list[str] = []
        self._seen = 0

    def open(self) -> None:
        """Start to listen. Raises ``OSError`` when the folder cannot be used."""
        bound = self._bind()
        self._socket = bound
        asyncio.get_running_loop().add_reader(bound.fileno(), self._readable)

    def _bind(self) -> socket.socket:
        for attempt in range(_BIND_ATTEMPTS):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if not _is_own_folder(self._folder.lstat()):
                raise PermissionError(f"{self._folder} is not this user's own folder")
            bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            bound.setblocking(False)
            try:
                bound.bind(str(self._path))
            except FileNotFoundError:  # the last listener just took the folder away
                bound.close()
                if attempt == _BIND_ATTEMPTS - 1:
                    raise
            except OSError:
                bound.close()
                raise
            else:
                return bound
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Stop listening; safe to call twice."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._folder.rmdir()  # only when nobody else listens
        if self._sender is not None:
            self._sender.close()
            self._sender = None

    def ring(self, topic: str) -> None:
        """Tell everybody, this process included. Never blocks, never raises."""
        if self._sender is None:
            self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sender.setblocking(False)
        payload = topic.encode("utf-8", "replace")[:_DATAGRAM]
        for peer in self._listeners():
            try:
                self._sender.sendto(payload, peer)
            except (ConnectionRefusedError, FileNotFoundError):
                self._seen = 0
                with contextlib.suppress(OSError):
                    os.unlink(peer)  # noqa: PTH108 - its process is gone without cleaning up
            except OSError:
                pass  # a full buffer: that process has enough reasons to wake up already

    def _listeners(self) -> list[str]:
        try:
            status = os.lstat(self._folder)
            changed = status.st_mtime_ns
            if changed != self._seen:
                self._peers = _sockets(self._folder) if _is_own_folder(status) else []
                # A change within the same clock tick would not show: trust older times only.
                settled = time.time_ns() - changed > _CLOCK_TICK_NS
                self._seen = changed if settled else 0
        except OSError:
            self._peers, self._seen = [], 0
        return self._peers

    def _readable(self) -> None:
        topics: set[str] = set()
        assert self._socket is not None
        while True:
            try:
                topics.add(self._socket.recv(_DATAGRAM).decode("utf-8", "replace"))
            except OSError:
                break
        for topic in topics:
            self._on_ring(topic)


def _is_own_folder(status: os.stat_result) -> bool:
    """Whether nobody else can have put a folder there, nor a link to another one."""
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _sockets(folder: Path) -> list[str]:
    """Only these are rung and, once nobody listens, removed: never somebody's files."""
    return [
        entry.path
        for entry in os.scandir(folder)
        if stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
    ]
