"""Writes of many items under a policy that may repeat them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from dapr_sidecar.components.state.base import BulkError, EtagError

R = TypeVar("R")


class BulkWrite(Generic[R]):
    """One bulk write; ``attempt`` may be repeated and then repeats only what can still succeed.

    Etag failures are final, and items that were written are not written again: their etags have
    changed by then.
    """

    def __init__(
        self, write: Callable[[Sequence[R]], Awaitable[None]], requests: Sequence[R]
    ) -> None:
        self._write = write
        self._left = requests
        self._etags: list[Exception] = []

    async def attempt(self) -> None:
        """Write what is left. Raises ``EtagError`` when every failure is one, or ``BulkError``."""
        try:
            await self._write(self._left)
        except BulkError as error:
            failed = error.errors
            self._etags += [e for e in failed.values() if isinstance(e, EtagError)]
            self._left = [self._left[i] for i, e in failed.items() if not isinstance(e, EtagError)]
            others = [e for e in failed.values() if not isinstance(e, EtagError)]
        else:
            self._left, others = (), []
        if self._etags or others:
            raise _joined([*self._etags, *others])


def _joined(causes: Sequence[Exception]) -> Exception:
    whole = BulkError(dict(enumerate(causes)))
    if all(isinstance(cause, EtagError) for cause in causes):
        invalid = any(isinstance(c, EtagError) and c.invalid for c in causes)
        return EtagError(str(whole), invalid=invalid)
    return whole
