"""How long to wait before which attempt."""

from __future__ import annotations

import random
from collections.abc import Callable

from dapr_common.resiliency.policies import RetryPolicy

_FACTOR = 1.5
_JITTER = 0.5
_RANDOM = random.Random()  # noqa: S311 - jitter is no secret


class Backoff:
    """The waits of one operation."""

    __slots__ = ("_interval", "_policy", "_random", "_retries")

    def __init__(
        self, policy: RetryPolicy, random_unit: Callable[[], float] = _RANDOM.random
    ) -> None:
        self._policy = policy
        self._random = random_unit
        self._interval = 0.5
        self._retries = 0

    def next(self, elapsed: float) -> float | None:
        """Seconds to wait before the next attempt; ``None``: give up.

        ``elapsed`` is the time since the first attempt began.
        """
        policy = self._policy
        if 0 <= policy.max_retries <= self._retries:
            return None
        self._retries += 1
        if policy.policy == "constant":
            return policy.duration
        spread = self._interval * _JITTER
        wait = self._interval - spread + self._random() * 2 * spread
        self._interval = min(self._interval * _FACTOR, policy.max_interval)
        return wait if elapsed + wait <= policy.max_elapsed else None
