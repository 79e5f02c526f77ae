from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest
from harness.spans import SpanList

from dapr_common.observe.exporters.base import Exporter, ExportError
from dapr_common.observe.exporters.batch import BatchLimits, BatchSink, Fanout
from dapr_common.observe.tracing import RecordedSpan, Tracer

LOGGER = "dapr.runtime.trace.export"
LONG = 1000.0


class Collector:
    """Implements ``Exporter``: keeps batches, fails as told."""

    name = "test"

    def __init__(self, *failures: Exception | None) -> None:
        self.batches: list[list[str]] = []
        self.failures = list(failures)
        self.attempts = 0
        self.arrived = asyncio.Event()
        self.tried = asyncio.Event()
        self.closed = False
        self.gate: asyncio.Event | None = None

    async def export(self, spans: Sequence[RecordedSpan]) -> None:
        self.attempts += 1
        self.tried.set()
        if self.gate is not None:
            await self.gate.wait()
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        self.batches.append([span.name for span in spans])
        self.arrived.set()

    async def close(self) -> None:
        self.closed = True


def sink(exporter: Exporter, **limits: float) -> BatchSink:
    given: dict[str, float] = {"interval": LONG, "first_wait": 0.001} | limits
    return BatchSink(exporter, BatchLimits(**given))  # type: ignore[arg-type]


def feed(target: BatchSink | Fanout, *names: str) -> None:
    tracer = Tracer(1, target)
    for name in names:
        tracer.start(name, "CLIENT").end()


async def test_a_full_batch_goes_out_at_once() -> None:
    collector = Collector()
    batch = sink(collector, max_batch=2)
    batch.start()
    feed(batch, "a", "b", "c")
    await collector.arrived.wait()
    assert collector.batches[0] == ["a", "b"]
    await batch.close()
    assert collector.batches[1:] == [["c"]]
    assert collector.closed


async def test_what_is_there_goes_out_after_the_interval() -> None:
    collector = Collector()
    batch = sink(collector, interval=0.01)
    batch.start()
    feed(batch, "a")
    await collector.arrived.wait()
    assert collector.batches == [["a"]]
    collector.arrived.clear()
    feed(batch, "b")
    await collector.arrived.wait()
    assert collector.batches == [["a"], ["b"]]
    await batch.close()


async def test_close_sends_what_is_left_in_batches() -> None:
    collector = Collector()
    batch = sink(collector, max_batch=2)
    feed(batch, "a", "b", "c")
    await batch.close()
    assert collector.batches == [["a", "b"], ["c"]]


async def test_a_queue_is_bounded_and_what_is_lost_is_counted_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    collector = Collector()
    batch = sink(collector, max_queue=3)
    told: list[int] = []
    batch.on_lost = told.append
    feed(batch, *"abcde")
    assert batch.lost == 2
    assert told == [1, 1]
    with caplog.at_level(logging.WARNING, LOGGER):
        await batch.close()
    assert collector.batches == [["a", "b", "c"]]
    assert caplog.messages == ["2 spans were lost on the way to test"]


async def test_an_outage_is_one_line_and_its_end_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    away = [ExportError("away", transient=True), OSError("refused"), TimeoutError()]
    collector = Collector(*away)
    batch = sink(collector, max_batch=2)
    batch.start()
    with caplog.at_level(logging.INFO, LOGGER):
        feed(batch, "a", "b")
        await collector.arrived.wait()
        await batch.close()
    assert collector.attempts == 4
    assert collector.batches == [["a", "b"]]
    assert batch.lost == 0
    assert caplog.messages == [
        "Cannot export 2 spans to test: away",
        "Exporting traces to test works again",
    ]


@pytest.mark.parametrize("failure", [ExportError("status 400 no"), RuntimeError("defect")])
async def test_what_cannot_get_better_is_given_up(failure: Exception) -> None:
    collector = Collector(failure)
    batch = sink(collector, max_batch=1)
    batch.start()
    feed(batch, "a", "b")
    await collector.arrived.wait()
    assert collector.batches == [["b"]]
    assert batch.lost == 1
    await batch.close()


async def test_patience_ends(caplog: pytest.LogCaptureFixture) -> None:
    collector = Collector(*[OSError("refused")] * 50)
    batch = sink(collector, max_batch=1, patience=0.01)
    with caplog.at_level(logging.WARNING, LOGGER):
        batch.start()
        feed(batch, "a")
        while batch.lost == 0:
            await collector.tried.wait()
            await asyncio.sleep(0)
        await batch.close()
    assert collector.batches == []
    assert caplog.messages[0] == "Cannot export 1 spans to test: refused"
    assert caplog.messages[-1] == "1 spans were lost on the way to test"


async def test_an_attempt_has_a_deadline() -> None:
    collector = Collector()
    collector.gate = asyncio.Event()
    batch = sink(collector, timeout=0.01, patience=0)
    feed(batch, "a")
    await batch.close()
    assert batch.lost == 1


async def test_close_ends_while_the_collector_hangs(caplog: pytest.LogCaptureFixture) -> None:
    collector = Collector()
    collector.gate = asyncio.Event()
    batch = sink(collector, max_batch=1)
    batch.start()
    feed(batch, "a", "b")
    await collector.tried.wait()
    with caplog.at_level(logging.WARNING, LOGGER):
        await batch.close(0.02)
    assert batch.lost == 2
    assert caplog.messages == ["2 spans were lost on the way to test"]
    assert collector.closed


async def test_close_does_not_wait_for_a_second_attempt() -> None:
    collector = Collector(OSError("refused"))
    batch = sink(collector, first_wait=LONG, patience=2 * LONG)
    feed(batch, "a")
    await batch.close(LONG)
    assert collector.attempts == 1
    assert batch.lost == 1


async def test_a_batch_under_way_at_close_is_sent_again() -> None:
    collector = Collector()
    collector.gate = asyncio.Event()
    batch = sink(collector, max_batch=1)
    batch.start()
    feed(batch, "a")
    await collector.tried.wait()
    asyncio.get_running_loop().call_later(0.01, collector.gate.set)
    await batch.close()
    assert collector.batches == [["a"]]
    assert batch.lost == 0


def test_a_fanout_gives_every_span_to_all() -> None:
    one, two = SpanList(), SpanList()
    feed(Fanout([one, two]), "a")
    assert [span.name for span in one] == [span.name for span in two] == ["a"]
