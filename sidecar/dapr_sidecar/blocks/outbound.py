"""One component call under its outbound policy, counted once however often it was tried."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TypeVar

from dapr_sidecar.context import SidecarContext
from dapr_sidecar.telemetry.base import Kind

T = TypeVar("T")


async def measured(
    context: SidecarContext,
    kind: Kind,
    policy: str,
    name: str,
    operation: str,
    call: Callable[[], Awaitable[T]],
) -> T:
    """Make the call; ``policy`` is the component kind as policies name it (``Secretstore``)."""
    started = perf_counter()
    success = False
    runner = context.policies.component_outbound(name, policy)
    try:
        result = await (call() if runner is None else runner.run(call))
        success = True
    finally:
        elapsed = (perf_counter() - started) * 1000
        context.metrics.component(kind, name, operation, success, elapsed)
    return result
