"""A connection that has to be there all the time: made again whenever it is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

from dapr_common.grpc.backoff import Backoff

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0


async def keep_connected(
    name: str,
    log: logging.Logger,
    until_lost: Callable[[], Awaitable[None]],
    connect: Callable[[], Awaitable[object]],
) -> NoReturn:
    """Connect again each time ``until_lost`` returns, until cancelled.

    ``connect`` is repeated, with pauses that grow to 10 s, whatever it raises. ``name`` is what the
    log calls the connection.
    """
    while True:
        await until_lost()
        log.warning("%s is lost, connecting again", name)
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                await connect()
            except Exception as error:  # noqa: BLE001 - whatever it is, it may pass
                log.warning("%s cannot be made: %s", name, str(error) or type(error).__name__)
                await asyncio.sleep(backoff.next())
            else:
                break
