"""One call under its policies: retry( breaker( timeout( operation ) ) )."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

from dapr_common.durations import format_go_duration
from dapr_common.observe.logs import get_logger
from dapr_common.observe.tracing import current_span
from dapr_common.resiliency.policies import RetryPolicy
from dapr_sidecar.resiliency.base import (
    AnsweredError,
    CircuitOpenError,
    CodedError,
    Operation,
    PermanentError,
    PolicyTimeoutError,
    T,
)
from dapr_sidecar.resiliency.breaker import CircuitBreaker, Clock
from dapr_sidecar.resiliency.report import Flow, NoReport, PolicyKind, Report
from dapr_sidecar.resiliency.retry import Backoff
from dapr_sidecar.resiliency.timeout import within

_LOG = get_logger("dapr.runtime.resiliency")
_QUIET = NoReport()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where time, chance and counts come from; tests bring their own."""

    clock: Clock = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    random_unit: Callable[[], float] = random.random
    report: Report = _QUIET


class PolicyRunner:
    """Implements ``Runner`` for one target.

    A ``PermanentError`` is never retried, and what caused it is raised in its place.
    """

    __slots__ = (
        "_around",
        "_breaker",
        "_flow",
        "_name",
        "_retry",
        "_target",
        "_timeout",
        "retries",
    )

    def __init__(
        self,
        name: str,
        around: Surroundings,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        breaker: CircuitBreaker | None = None,
        flow: Flow = "outbound",
        target: str = "",
    ) -> None:
        self._name = name
        self._around = around
        self._timeout = timeout
        self._breaker = breaker
        self._flow: Flow = flow
        self._target = target
        self._retry = retry if retry is not None and retry.max_retries != 0 else None
        self.retries = self._retry is not None

    def executed(self) -> None:
        """Count that these policies were looked up for a call."""
        report, flow, target = self._around.report, self._flow, self._target
        if self._timeout is not None:
            report.executed("timeout", flow, target)
        if self._retry is not None:
            report.executed("retry", flow, target)
        if self._breaker is not None:
            state = self._breaker.state
            report.executed("circuitbreaker", flow, target, state)
            report.breaker_state(flow, target, state)

    def once(self) -> PolicyRunner:
        """The same without retries."""
        if self._retry is None:
            return self
        return PolicyRunner(
            self._name,
            self._around,
            timeout=self._timeout,
            breaker=self._breaker,
            flow=self._flow,
            target=self._target,
        )

    async def run(self, operation: Operation[T]) -> T:
        """Make the call; raises what its last attempt raised."""
        if self._retry is None:
            try:
                return await self._attempt(operation)
            except PermanentError as error:
                _raise_real(error)
        return await self._retried(operation, self._retry)

    async def _retried(self, operation: Operation[T], policy: RetryPolicy) -> T:
        around = self._around
        backoff = Backoff(policy, around.random_unit)
        started = around.clock()
        attempts = 0
        while True:
            try:
                result = await self._attempt(operation)
            except PermanentError as error:
                _raise_real(error)
            except Exception as error:
                if isinstance(error, CodedError) and not policy.matching.allows(error.code):
                    raise
                wait = backoff.next(around.clock() - started)
                if wait is None:
                    raise
                attempts += 1
                self._retrying(attempts, wait, error)
            else:
                if attempts:
                    _LOG.info(
                        "Recovered processing operation %s after %d attempts", self._name, attempts
                    )
                return result
            await around.sleep(wait)

    def _retrying(self, attempts: int, wait: float, error: Exception) -> None:
        if attempts == 1:
            shown = format_go_duration(timedelta(seconds=wait))
            _LOG.warning("Error processing operation %s. Retrying in %s...", self._name, shown)
            self._activated("retry")
        _LOG.debug("Error for operation %s was: %s", self._name, error)

    async def _attempt(self, operation: Operation[T]) -> T:
        breaker = self._breaker
        if breaker is None:
            return await self._timed(operation)
        generation = breaker.before()
        success = False
        try:
            result = await self._timed(operation)
            success = True
        except AnsweredError:
            success = True
            raise
        finally:
            # A cancelled call counts as failed: a half-open breaker must get its slot back.
            breaker.after(generation, success)
        return result

    async def _timed(self, operation: Operation[T]) -> T:
        if self._timeout is None:
            return await operation()
        try:
            return await within(self._timeout, operation)
        except PolicyTimeoutError:
            self._activated("timeout")
            raise

    def _activated(self, policy: PolicyKind) -> None:
        self._around.report.activated(policy, self._flow, self._target)
        span = current_span.get()
        if span is not None:
            span.event(f"resiliency.{policy}")


def _raise_real(error: PermanentError) -> NoReturn:
    """Raise what the caller is to see; an open breaker is an answer of its own."""
    if isinstance(error, CircuitOpenError) or error.__cause__ is None:
        raise error
    raise error.__cause__
