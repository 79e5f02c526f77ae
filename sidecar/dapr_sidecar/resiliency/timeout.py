"""A deadline around one attempt."""

from __future__ import annotations

import asyncio
from typing import Any

from dapr_common.observe.logs import get_logger
from dapr_sidecar.resiliency.base import Operation, PolicyTimeoutError, T

_LOG = get_logger("dapr.runtime.resiliency")
_LETTING_GO_SECONDS = 0.05
# Attempts that were cancelled and have not ended: kept so that none vanishes unseen.
_abandoned: set[asyncio.Future[Any]] = set()


async def within(seconds: float, operation: Operation[T]) -> T:
    """Run an operation. Raises ``PolicyTimeoutError`` when the deadline passes first.

    The operation is then cancelled. One that takes its time to end does so behind the caller's
    back, and what comes of it is of no interest any more. A ``TimeoutError`` of the operation's own
    is handed on as it is.
    """
    attempt = asyncio.ensure_future(_awaited(operation))
    try:
        if await _ended(attempt, seconds):
            return attempt.result()
    except asyncio.CancelledError:
        # The caller is gone, or the operation was cancelled from within.
        if not attempt.done():
            attempt.cancel()
            await asyncio.wait((attempt,))
        raise
    attempt.cancel()
    if not await _ended(attempt, _LETTING_GO_SECONDS):
        _LOG.debug("an operation goes on after its timeout of %g s", seconds)
    _abandon(attempt)
    raise PolicyTimeoutError


async def _awaited(operation: Operation[T]) -> T:
    return await operation()


async def _ended(attempt: asyncio.Future[T], seconds: float) -> bool:
    done, _ = await asyncio.wait((attempt,), timeout=seconds)
    return bool(done)


def _abandon(attempt: asyncio.Future[T]) -> None:
    _abandoned.add(attempt)
    attempt.add_done_callback(_forget)


def _forget(attempt: asyncio.Future[Any]) -> None:
    _abandoned.discard(attempt)
    if not attempt.cancelled() and (error := attempt.exception()) is not None:
        _LOG.debug("an operation ended after its timeout: %s", error)
