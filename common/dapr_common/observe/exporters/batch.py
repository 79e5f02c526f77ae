"""Collects finished spans and exports them in batches, beside the requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence

from dapr_common.observe.exporters.base import Exporter, ExportError
from dapr_common.observe.logs import get_logger
from dapr_common.observe.tracing import Span, SpanSink

_LOG = get_logger("dapr.runtime.trace.export")


class BatchSink:
    """A bounded queue before one exporter: what does not fit is dropped and counted.

    ``add`` never waits. A batch goes out when it is full, or ``interval`` seconds after its first
    span. Batches that fail are given up.
    """

    def __init__(
        self,
        exporter: Exporter,
        *,
        max_queue: int = 2048,
        max_batch: int = 512,
        interval: float = 5.0,
        timeout: float = 30.0,
    ) -> None:
        self.dropped = 0
        self._exporter = exporter
        self._max_queue = max_queue
        self._max_batch = max_batch
        self._interval = interval
        self._timeout = timeout
        self._queue: deque[Span] = deque()
        self._any = asyncio.Event()
        self._full = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self._told = 0

    def add(self, span: Span) -> None:
        """Take a finished span."""
        queue = self._queue
        if len(queue) >= self._max_queue:
            self.dropped += 1
            return
        queue.append(span)
        if len(queue) == 1:
            self._any.set()
        if len(queue) >= self._max_batch:
            self._full.set()

    def start(self) -> None:
        """Begin to export; ``close`` ends it."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="trace-export")

    async def close(self, timeout: float = 5.0) -> None:
        """Export what is left, for at most ``timeout`` seconds, and close the exporter."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._flush()
        await self._exporter.close()

    async def _run(self) -> None:
        while True:
            await self._any.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._full.wait()
            await self._flush()

    async def _flush(self) -> None:
        queue = self._queue
        while queue:
            batch = [queue.popleft() for _ in range(min(len(queue), self._max_batch))]
            try:
                await self._export(batch)
            except asyncio.CancelledError:
                # It may have arrived; twice is better than never.
                queue.extendleft(reversed(batch))
                raise
        self._any.clear()
        self._full.clear()

    async def _export(self, batch: list[Span]) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._exporter.export(batch)
        except TimeoutError:
            self._failed("no answer in time", len(batch))
        except (ExportError, OSError) as error:
            self._failed(str(error), len(batch))
        except Exception as error:  # noqa: BLE001 - telemetry must not end; the log says it
            self._failed(repr(error), len(batch))
        else:
            if self._failing:
                self._failing = False
                _LOG.info("Exporting traces to %s works again", self._exporter.name)
        if self.dropped > self._told:
            _LOG.warning("%d spans were dropped, the queue was full", self.dropped - self._told)
            self._told = self.dropped

    def _failed(self, reason: str, count: int) -> None:
        # One line for an outage, not one for each batch.
        level = _LOG.debug if self._failing else _LOG.warning
        self._failing = True
        level("Cannot export %d spans to %s: %s", count, self._exporter.name, reason)


class Fanout:
    """Gives each span to several sinks."""

    def __init__(self, sinks: Sequence[SpanSink]) -> None:
        self._sinks = tuple(sinks)

    def add(self, span: Span) -> None:
        """Take a finished span."""
        for sink in self._sinks:
            sink.add(span)
