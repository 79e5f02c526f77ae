"""Doing again what a busy or vanished service did not do, when twice does no harm."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from dapr_sidecar.components.web import WebError

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 3.0
_TOO_MANY = 429
_BROKEN = 500
T = TypeVar("T")


class RefusedError(Exception):
    """A service's answer that is none: ``code`` is its word for why, ``status`` HTTP's."""

    def __init__(self, message: str, code: str, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


async def repeated(once: Callable[[], Awaitable[T]], attempts: int = 4) -> T:
    """Up to so many tries, with longer pauses. Raises what the last one raised.

    A service that cannot be reached at all is not asked again: that shows when connecting, which
    had its own patience.
    """
    for attempt in range(attempts - 1):
        try:
            return await once()
        except RefusedError as error:
            if error.status != _TOO_MANY and error.status < _BROKEN:
                raise
        except WebError as error:
            if not error.sent:
                raise
        pause = min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)
        await asyncio.sleep(random.uniform(0, pause))  # noqa: S311
    return await once()
