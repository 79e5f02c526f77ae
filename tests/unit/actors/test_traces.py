"""Whose trace a callback belongs to."""

from __future__ import annotations

import asyncio

import pytest
from harness.spans import SpanList

from dapr_common.observe.tracing import Span, SpanContext, Tracer, current_span
from dapr_sidecar.blocks.actors.base import ActorRef, Callback
from dapr_sidecar.blocks.actors.due import DueRunner
from dapr_sidecar.blocks.actors.instances.trace import traced

REF = ActorRef("T", "1")
REQUEST = Span(SpanContext("a" * 32, "b" * 16, 1))


def callback(kind: str) -> Callback:
    return Callback(REF, "tick", kind, None)  # type: ignore[arg-type]


class Item:
    ref = REF
    ticket = 0


async def test_what_is_due_does_not_run_in_the_trace_of_the_request_that_made_it() -> None:
    seen: list[Span | None] = []
    fired = asyncio.Event()

    async def fire(_: Item) -> None:
        seen.append(current_span.get())
        fired.set()

    loop = asyncio.get_running_loop()
    runner: DueRunner[Item] = DueRunner(fire, loop.time, 1)
    token = current_span.set(REQUEST)
    runner.put(Item(), loop.time())
    await fired.wait()
    current_span.reset(token)
    await runner.close(1)
    assert seen == [None]


def test_a_reminder_begins_a_trace_of_its_own() -> None:
    spans = SpanList()
    token = current_span.set(REQUEST)
    inside: list[Span | None] = []

    def fail() -> None:
        with traced(Tracer(1, spans), callback("reminder")):
            inside.append(current_span.get())
            raise OSError("it failed")

    with pytest.raises(OSError):
        fail()
    assert current_span.get() is REQUEST
    current_span.reset(token)
    (span,) = spans
    assert inside == [span]
    assert (span.name, span.kind, span.parent_id) == ("CallActor/T/remind/tick", "CLIENT", "")
    assert span.context.trace_id != REQUEST.context.trace_id
    assert span.attributes == {"rpc.service": "ServiceInvocation", "dapr.actor": "T.1"}
    assert span.error == "it failed"


def test_a_timer_has_none() -> None:
    spans = SpanList()
    with traced(Tracer(1, spans), callback("timer")):
        assert current_span.get() is None
    assert spans == []


@pytest.mark.parametrize("tracer", [Tracer(0), Tracer(1), Tracer(0, SpanList())])
def test_no_trace_begins_where_there_are_no_spans(tracer: Tracer) -> None:
    with traced(tracer, callback("reminder")):
        assert current_span.get() is None
