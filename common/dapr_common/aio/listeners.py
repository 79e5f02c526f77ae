"""Binding TCP listeners, with patience for ports that are still closing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.listeners")
_TOTAL_SECONDS = 10.0
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
