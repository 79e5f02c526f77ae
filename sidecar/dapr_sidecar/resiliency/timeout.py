"""A deadline around one attempt."""

from __future__ import annotations

import asyncio

from dapr_sidecar.resiliency.base import Operation, PolicyTimeoutError, T


async def within(seconds: float, operation: Operation[T]) -> T:
    """Run an operation. Raises ``PolicyTimeoutError`` when the deadline passes first.

    A ``TimeoutError`` of the operation's own is handed on as it is.
    """
    deadline = asyncio.timeout(seconds)
    try:
        async with deadline:
            return await operation()
    except TimeoutError as error:
        if deadline.expired():
            raise PolicyTimeoutError from error
        raise
