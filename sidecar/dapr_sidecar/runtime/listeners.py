"""The sidecar's Unix sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from dapr_common.aio.listeners import BindError
from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.runtime.listeners")
_PROBE_SECONDS = 1.0


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
