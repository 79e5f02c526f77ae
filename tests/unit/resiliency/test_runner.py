from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from harness.spans import SpanList

from dapr_common.observe.tracing import SpanContext, Tracer, current_span
from dapr_common.resiliency.policies import RetryPolicy
from dapr_sidecar.resiliency.base import (
    CircuitOpenError,
    CodedError,
    PermanentError,
    PolicyTimeoutError,
)
from dapr_sidecar.resiliency.builtin import BUILT_IN
from dapr_sidecar.resiliency.retry import Backoff


def spec(retry: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    target = {}
    policies: dict[str, Any] = {}
    if retry is not None:
        policies["retries"], target["retry"] = {"r": retry}, "r"
    if "timeout" in others:
        policies["timeouts"], target["timeout"] = {"t": others["timeout"]}, "t"
    if "breaker" in others:
        policies["circuitBreakers"], target["circuitBreaker"] = {"c": others["breaker"]}, "c"
    return {"policies": policies, "targets": {"apps": {"a": target}}}


def test_constant_waits_between_attempts(world: Any, script: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "dapr.runtime.resiliency")
    runner = world.policies(spec({"duration": "100ms", "maxRetries": 3})).app("a", "a:m")
    assert runner.retries
    operation = script(OSError("1"), OSError("2"), "fine")
    assert world.run(runner.run(operation)) == "fine"
    assert world.waits == [0.1, 0.1]
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert ("WARNING", "Error processing operation endpoint[a, a:m]. Retrying in 100ms...") in lines
    assert lines[-1] == (
        "INFO",
        "Recovered processing operation endpoint[a, a:m] after 2 attempts",
    )
    assert sum(level == "WARNING" for level, _ in lines) == 1


def test_the_last_error_comes_out_after_n_retries(world: Any, script: Any) -> None:
    runner = world.policies(spec({"duration": 10, "maxRetries": 2})).app("a", "a:m")
    operation = script(OSError("1"), OSError("2"), OSError("3"))
    with pytest.raises(OSError, match="3"):
        world.run(runner.run(operation))
    assert operation.calls == 3


def test_minus_one_retries_for_ever_and_zero_never(world: Any, script: Any) -> None:
    endless = world.policies(spec({"duration": "1s"})).app("a", "a:m")
    operation = script(*[OSError()] * 500, "done")
    assert world.run(endless.run(operation)) == "done"
    once = world.policies(spec({"maxRetries": 0})).app("a", "a:m")
    assert not once.retries
    failing = script(OSError())
    with pytest.raises(OSError):
        world.run(once.run(failing))
    assert failing.calls == 1


def test_matching_filters_only_errors_with_a_code(world: Any, script: Any) -> None:
    policy = {
        "duration": "1ms",
        "maxRetries": 2,
        "matching": {"httpStatusCodes": "500-502,504", "gRPCStatusCodes": 14},
    }
    runner = world.policies(spec(policy)).app("a", "a:m")
    for failure, calls in [
        (CodedError(404), 1),
        (CodedError(503), 1),
        (CodedError(500), 3),
        (CodedError(14), 3),
        (CodedError(13), 1),
        (OSError(), 3),
    ]:
        operation = script(failure)
        with pytest.raises(type(failure)) as caught:
            world.run(runner.run(operation))
        assert caught.value is failure
        assert operation.calls == calls


def test_a_permanent_error_is_unwrapped_and_not_retried(world: Any, script: Any) -> None:
    real = KeyError("real")
    permanent = PermanentError()
    permanent.__cause__ = real
    runner = world.policies(spec({"duration": 1, "maxRetries": 5})).app("a", "a:m")
    operation = script(permanent)
    with pytest.raises(KeyError) as caught:
        world.run(runner.run(operation))
    assert caught.value is real
    assert caught.value.__cause__ is None
    assert operation.calls == 1


def test_each_attempt_has_its_own_timeout(world: Any, script: Any) -> None:
    policies = world.policies(spec({"duration": "100ms", "maxRetries": 2}, timeout="500ms"))
    operation = script(30.0)
    with pytest.raises(PolicyTimeoutError, match="context deadline exceeded"):
        world.run(policies.app("a", "a:m").run(operation))
    assert operation.calls == 3
    assert world.loop.time() == pytest.approx(1.7)
    assert world.events.count(("activated", "timeout", "outbound", "app_a", "")) == 3
    assert world.events.count(("activated", "retry", "outbound", "app_a", "")) == 1


def test_an_operations_own_timeout_error_is_not_the_policys(world: Any, script: Any) -> None:
    runner = world.policies(spec(timeout="5s")).app("a", "a:m")
    own = TimeoutError("mine")
    with pytest.raises(TimeoutError) as caught:
        world.run(runner.run(script(own)))
    assert caught.value is own


def test_the_breaker_ends_the_retries_when_it_opens(world: Any, script: Any) -> None:
    breaker = {"trip": "consecutiveFailures >= 3", "timeout": "1s"}
    policies = world.policies(spec({"duration": "10ms", "maxRetries": 10}, breaker=breaker))
    operation = script(CodedError(500))
    with pytest.raises(CircuitOpenError):
        world.run(policies.app("a", "a:m").run(operation))
    assert operation.calls == 3
    assert ("activated", "circuitbreaker", "outbound", "app_a", "open") in world.events
    with pytest.raises(CircuitOpenError):
        world.run(policies.app("a", "a:m").run(operation))
    assert operation.calls == 3
    assert world.run(policies.app("a", "a:other").run(script("fine"))) == "fine"
    world.advance(1.01)
    assert world.run(policies.app("a", "a:m").run(script("fine"))) == "fine"


def test_codes_that_are_not_retried_still_count_in_the_breaker(world: Any, script: Any) -> None:
    retry = {"duration": 1, "maxRetries": 5, "matching": {"httpStatusCodes": "503"}}
    policies = world.policies(spec(retry, breaker={"trip": "totalFailures > 1"}))
    for _ in range(2):
        with pytest.raises(CodedError):
            world.run(policies.app("a", "a:m").run(script(CodedError(404))))
    with pytest.raises(CircuitOpenError):
        world.run(policies.app("a", "a:m").run(script("fine")))


def test_a_cancelled_call_gives_its_half_open_slot_back(world: Any, script: Any) -> None:
    policies = world.policies(spec(breaker={"trip": "totalFailures > 0", "timeout": "1s"}))
    runner = policies.app("a", "a:m")

    async def main() -> object:
        with pytest.raises(OSError):
            await runner.run(script(OSError()))
        await asyncio.sleep(1.1)
        task = asyncio.ensure_future(runner.run(script(60.0)))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(1.1)
        return await runner.run(script("fine"))

    assert world.run(main()) == "fine"


def test_cancelling_ends_the_wait(world: Any, script: Any) -> None:
    runner = world.policies(spec({"duration": "1h"})).app("a", "a:m")

    async def main() -> None:
        task = asyncio.ensure_future(runner.run(script(OSError())))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    world.run(main())
    assert world.loop.time() == 1


def test_activations_are_events_of_the_current_span(world: Any, script: Any) -> None:
    runner = world.policies(spec({"duration": 1, "maxRetries": 1})).app("a", "a:m")
    span = Tracer(1.0, SpanList()).start("x", "CLIENT", SpanContext("a" * 32, "b" * 16, 1))
    token = current_span.set(span)
    try:
        world.run(runner.run(script(OSError(), "fine")))
    finally:
        current_span.reset(token)
    assert [name for _, name in span.events] == ["resiliency.retry"]


def test_exponential_waits_grow_to_the_cap_with_jitter() -> None:
    policy = RetryPolicy("r", "exponential", max_interval=2.0)
    middle, low, high = (Backoff(policy, lambda u=u: u) for u in (0.5, 0.0, 1.0))  # type: ignore[misc]
    expected = [0.5, 0.75, 1.125, 1.6875, 2.0, 2.0]
    assert [middle.next(0) for _ in expected] == pytest.approx(expected)
    assert [low.next(0) for _ in expected] == pytest.approx([w / 2 for w in expected])
    assert [high.next(0) for _ in expected] == pytest.approx([w * 1.5 for w in expected])


def test_exponential_ends_fifteen_minutes_after_the_start() -> None:
    backoff = Backoff(RetryPolicy("r", "exponential"), lambda: 0.5)
    assert backoff.next(899.4) == pytest.approx(0.5)
    assert backoff.next(899.4) is None
    constant = Backoff(RetryPolicy("r", "constant", 1.0))
    assert constant.next(1e6) == 1.0


def test_built_in_values() -> None:
    assert {name: (p.policy, p.max_retries) for name, p in BUILT_IN.items()} == {
        "DaprBuiltInServiceRetries": ("constant", 3),
        "DaprBuiltInActorRetries": ("constant", 3),
        "DaprBuiltInActorReminderRetries": ("exponential", 0),
        "DaprBuiltInInitializationRetries": ("exponential", 3),
        "DaprBuiltInActorNotFoundRetries": ("constant", 5),
    }
