"""What a real sidecar's metrics say of its policies."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

from harness.http_call import call
from harness.sidecar import Sidecar

_LINE = re.compile(r"dapr_resiliency_(count|activations_total)\{([^}]*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def counts(sidecar: Sidecar) -> Counter[str]:
    """``count retry outbound Statestore_st`` and ``activations …`` to their numbers."""
    text = call(sidecar.metrics_port, "GET", "/").body.decode()
    found: Counter[str] = Counter()
    for metric, labels, number in _LINE.findall(text):
        given = dict(_LABEL.findall(labels))
        words = (given[name] for name in ("policy", "flow_direction", "target"))
        found[" ".join((metric.removesuffix("_total"), *words))] += int(float(number))
    return found


async def wait_count(sidecar: Sidecar, what: str, number: int, seconds: float = 30.0) -> None:
    """Wait until something was counted so often."""
    async with asyncio.timeout(seconds):
        while (await asyncio.to_thread(counts, sidecar))[what] < number:
            await asyncio.sleep(0.05)
