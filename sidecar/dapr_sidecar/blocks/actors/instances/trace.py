"""The trace that begins with a reminder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dapr_common.observe.tracing import Tracer, current_span
from dapr_sidecar.blocks.actors.base import Callback


@contextmanager
def traced(tracer: Tracer, callback: Callback) -> Iterator[None]:
    """A reminder's call into the app begins a trace; a timer's has none, as in Dapr."""
    if callback.kind != "reminder" or not tracer.enabled:
        yield
        return
    ref = callback.ref
    span = tracer.start(f"CallActor/{ref.type}/remind/{callback.name}", "CLIENT")
    if not span.context.valid:  # nothing takes spans
        yield
        return
    span.set("rpc.service", "ServiceInvocation")
    span.set("dapr.actor", f"{ref.type}.{ref.id}")
    token = current_span.set(span)
    try:
        yield
    except Exception as error:
        span.fail(str(error))
        raise
    finally:
        current_span.reset(token)
        span.end()
