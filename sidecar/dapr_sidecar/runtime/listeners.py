"""Binding the sidecar's listeners, with Dapr's patience for ports that are still closing."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.runtime.listeners")
_TOTAL_SECONDS = 10.0
_PROBE_SECONDS = 1.0
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 0.5

Bind = Callable[[str | None, int], Awaitable[int]]


class BindError(OSError):
    """No address of a listener could be bound."""


async def bind_all(what: str, bind: Bind, addresses: Sequence[str], port: int) -> int:
    """Bind every address (all interfaces when none is given); at least one must work."""
    bound: int | None = None
    failures: list[str] = []
    for address in addresses or [""]:
        try:
            bound = await _patiently(bind, address or None, bound or port)
        except OSError as error:
            failures.append(f"{address or ''}:{port}: {error.strerror or error}")
            _LOG.warning("%s could not listen on %s", what, failures[-1])
            continue
        _LOG.info("%s listening on TCP address: %s:%d", what, address, bound)
    if bound is None:
        raise BindError(f"{what} could not listen on any address: {'; '.join(failures)}")
    return bound


async def bind_unix(what: str, bind: Callable[[str], Awaitable[None]], path: str) -> None:
    """Bind a Unix socket; a stale file is removed first, one that somebody serves is not."""
    if await _is_served(path):
        raise BindError(f"{what} could not listen on {path}: another process listens there")
    with contextlib.suppress(FileNotFoundError):
        Path(path).unlink()  # noqa: ASYNC240 - once, at start
    try:
        await bind(path)
    except OSError as error:
        raise BindError(f"{what} could not listen on {path}: {error.strerror or error}") from error
    _LOG.info("%s listening on UNIX socket: %s", what, path)


async def _is_served(path: str) -> bool:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            _, writer = await asyncio.open_unix_connection(path)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def socket_path(directory: str, app_id: str, protocol: str) -> str:
    """``DIR/dapr-<app id>-<http|grpc>.socket``."""
    return os.path.join(directory, f"dapr-{app_id}-{protocol}.socket")  # noqa: PTH118


async def _patiently(bind: Bind, host: str | None, port: int) -> int:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _TOTAL_SECONDS
    delay = _FIRST_DELAY
    while True:
        try:
            return await bind(host, port)
        except OSError:
            if loop.time() + delay > deadline:
                raise
            await asyncio.sleep(delay)
            delay = min(delay * 1.5, _LONGEST_DELAY)
