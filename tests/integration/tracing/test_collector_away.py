"""The collector goes away: requests do not notice, what is lost is counted, and it goes on."""

from __future__ import annotations

import asyncio
import re
import time

import pytest
from harness.backends import Backends
from harness.http_call import acall, call
from harness.proxy import Proxy, proxy
from harness.sidecar import Sidecar, component
from integration.tracing.collectors import Collector, Otelcol, OtelcolHttp, Zipkin
from integration.tracing.shop import SOON, new_trace_id

pytestmark = pytest.mark.slow
PARENT = "b7ad6b7169203331"
_CALLS = 150
_QUEUE = 40
_ENV = {**SOON, "OTEL_BSP_MAX_QUEUE_SIZE": str(_QUEUE), "OTEL_BSP_EXPORT_TIMEOUT": "500"}
_MOST_SECONDS = 5.0  # of one request; far from the time an export may take


@pytest.fixture(params=[Zipkin, Otelcol, OtelcolHttp], ids=lambda kind: kind.__name__.lower())
def collector(request: pytest.FixtureRequest, backends: Backends) -> Collector:
    kind: type[Collector] = request.param
    return kind(backends.shared(kind.backend_name))


async def read(sidecar: Sidecar, trace_id: str, count: int) -> float:
    """Calls of one trace, one after the other; the seconds of the slowest."""
    slowest = 0.0
    for _ in range(count):
        started = time.monotonic()
        headers = {"traceparent": f"00-{trace_id}-{PARENT}-01"}
        answer = await acall(sidecar.http_port, "GET", "/v1.0/state/st/k", headers=headers)
        assert answer.status == 204
        slowest = max(slowest, time.monotonic() - started)
    return slowest


def lost(sidecar: Sidecar) -> int:
    """How many spans its log says were lost."""
    return sum(int(found) for found in re.findall(r"(\d+) spans were lost on the way", sidecar.log))


def counted(sidecar: Sidecar, address: str) -> int:
    """How many spans its metric says were lost on the way to this address."""
    text = call(sidecar.metrics_port, "GET", "/").body.decode()
    ((exporter, number),) = re.findall(
        r'dapr_runtime_trace_spans_lost_total\{app_id="[^"]*",exporter="([^"]*)"\} (\S+)', text
    )
    assert address in exporter
    return int(float(number))


def requests(sidecar: Sidecar) -> int:
    """How many calls of its API it counted that have spans."""
    text = call(sidecar.metrics_port, "GET", "/").body.decode()
    lines = re.findall(r"dapr_http_server_request_count\{(.*)\} (\S+)", text)
    return sum(int(float(number)) for labels, number in lines if "healthz" not in labels)


async def take_away(line: Proxy, how: str) -> None:
    if how == "refuses":
        line.refuse()
    else:
        line.hold()


async def give_back(line: Proxy, how: str) -> None:
    if how == "refuses":
        await line.start()
    else:
        line.release()


@pytest.mark.parametrize("how", ["refuses", "is silent"])
async def test_a_collector_that(how: str, collector: Collector) -> None:
    port = int(collector.address.rpartition(":")[2])
    async with proxy(port) as line:
        config = {"tracing": {"samplingRate": "1", **collector.settings(line.address)}}
        store = component("st", "state.in-memory")
        async with Sidecar(resources=[store], config=config, env=_ENV) as sidecar:
            before, during, after = (new_trace_id() for _ in range(3))
            await read(sidecar, before, 1)
            await asyncio.to_thread(collector.wait, before, 1)
            assert await asyncio.to_thread(counted, sidecar, line.address) == 0
            await take_away(line, how)
            assert await read(sidecar, during, _CALLS) < _MOST_SECONDS
            await asyncio.to_thread(sidecar.wait_line, "Cannot export")
            assert lost(sidecar) == 0, "the log tells the sum when the outage is over"
            assert await asyncio.to_thread(counted, sidecar, line.address) >= _CALLS - 2 * _QUEUE
            await give_back(line, how)
            await asyncio.to_thread(sidecar.wait_line, "works again")
            await asyncio.to_thread(sidecar.wait_line, "spans were lost")
            await read(sidecar, after, 1)
            await asyncio.to_thread(collector.wait, after, 1)
            # Every span has arrived or is counted; none was kept beyond the queue and one batch.
            kept = await asyncio.to_thread(collector.wait, during, _CALLS - lost(sidecar))
            arrived = len({span.span_id for span in kept})
            assert 1 <= arrived <= 2 * _QUEUE
            # Others on this machine may ask a sidecar, too: what ``dapr list`` does.
            others = await asyncio.to_thread(requests, sidecar) - _CALLS - 2
            assert _CALLS - arrived <= lost(sidecar) <= _CALLS - arrived + others
            assert await asyncio.to_thread(counted, sidecar, line.address) == lost(sidecar)
            assert sidecar.log.count('level=warning msg="Cannot export') == 1


async def test_the_last_spans_go_out_when_the_sidecar_ends(collector: Collector) -> None:
    config = {"tracing": {"samplingRate": "1", **collector.settings()}}
    trace_id = new_trace_id()
    never = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}
    async with Sidecar(
        resources=[component("st", "state.in-memory")], config=config, env=never
    ) as sidecar:
        await read(sidecar, trace_id, 3)
        assert collector.trace(trace_id) == []
    assert len(await asyncio.to_thread(collector.wait, trace_id, 3)) == 3
