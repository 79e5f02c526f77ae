"""Collects finished spans and exports them in batches, beside the requests."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dapr_common.observe.exporters.base import Exporter, ExportError
from dapr_common.observe.logs import get_logger
from dapr_common.observe.tracing import RecordedSpan, SpanSink

_LOG = get_logger("dapr.runtime.trace.export")
_BACKOFF = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How much waits and how long; times in seconds.

    A batch that fails for a reason that may pass is sent again, first after ``first_wait``, until
    ``patience`` is over.
    """

    max_queue: int = 2048
    max_batch: int = 512
    interval: float = 5.0
    timeout: float = 30.0
    first_wait: float = 5.0
    patience: float = 60.0


class BatchSink:
    """A bounded queue before one exporter: what does not fit is dropped and counted in ``lost``.

    ``on_lost`` is told how many spans were just lost, for whatever reason.
    ``add`` never waits. A batch goes out when it is full, or an interval after its first span.
    """

    def __init__(self, exporter: Exporter, limits: BatchLimits | None = None) -> None:
        self.lost = 0
        self.on_lost: Callable[[int], None] | None = None
        self._exporter = exporter
        self._limits = limits or BatchLimits()
        self._queue: deque[RecordedSpan] = deque()
        self._any = asyncio.Event()
        self._full = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._failing = False
        self._told = 0

    @property
    def name(self) -> str:
        """What log lines call the exporter."""
        return self._exporter.name

    def add(self, span: RecordedSpan) -> None:
        """Take a finished span."""
        queue = self._queue
        if len(queue) >= self._limits.max_queue:
            self._lose(1)
            return
        queue.append(span)
        if len(queue) == 1:
            self._any.set()
        if len(queue) >= self._limits.max_batch:
            self._full.set()

    def start(self) -> None:
        """Begin to export; ``close`` ends it."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="trace-export")

    async def close(self, timeout: float = 5.0) -> None:
        """Export what is left, for at most ``timeout`` seconds, and close the exporter."""
        self._closing = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._flush()
        if self._queue:
            self._lose(len(self._queue))
            self._queue.clear()
        self._tell_lost()
        await self._exporter.close()

    async def _run(self) -> None:
        while True:
            await self._any.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.interval):
                    await self._full.wait()
            await self._flush()

    async def _flush(self) -> None:
        queue = self._queue
        while queue:
            batch = [queue.popleft() for _ in range(min(len(queue), self._limits.max_batch))]
            try:
                await self._export(batch)
            except asyncio.CancelledError:
                # It may have arrived; twice is better than never.
                queue.extendleft(reversed(batch))
                raise
        self._any.clear()
        self._full.clear()

    async def _export(self, batch: list[RecordedSpan]) -> None:
        limits = self._limits
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limits.patience
        wait = limits.first_wait
        while (error := await self._attempt(batch)) is not None:
            self._failed(error, len(batch))
            pause = wait * random.uniform(0.5, 1.5)  # noqa: S311 - jitter is no secret
            if not error.transient or self._closing or loop.time() + pause > deadline:
                self._lose(len(batch))
                return
            await asyncio.sleep(pause)
            wait *= _BACKOFF
        if self._failing:
            self._failing = False
            _LOG.info("Exporting traces to %s works again", self._exporter.name)
        self._tell_lost()

    async def _attempt(self, batch: list[RecordedSpan]) -> ExportError | None:
        try:
            async with asyncio.timeout(self._limits.timeout):
                await self._exporter.export(batch)
        except TimeoutError:
            return ExportError("no answer in time", transient=True)
        except ExportError as error:
            return error
        except OSError as error:
            return ExportError(str(error) or repr(error), transient=True)
        except Exception as error:  # noqa: BLE001 - telemetry must not end; the log says it
            return ExportError(repr(error))
        return None

    def _failed(self, error: ExportError, count: int) -> None:
        # One line for an outage, not one for each attempt.
        level = _LOG.debug if self._failing else _LOG.warning
        self._failing = True
        level("Cannot export %d spans to %s: %s", count, self._exporter.name, error)

    def _lose(self, count: int) -> None:
        self.lost += count
        if self.on_lost is not None:
            self.on_lost(count)

    def _tell_lost(self) -> None:
        if self.lost > self._told:
            missing = self.lost - self._told
            _LOG.warning("%d spans were lost on the way to %s", missing, self._exporter.name)
            self._told = self.lost


class Fanout:
    """Gives each span to several sinks."""

    def __init__(self, sinks: Sequence[SpanSink]) -> None:
        self._sinks = tuple(sinks)

    def add(self, span: RecordedSpan) -> None:
        """Take a finished span."""
        for sink in self._sinks:
            sink.add(span)
