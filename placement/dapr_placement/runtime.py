"""One placement server from start to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc

from dapr_common.observe.health import Readiness
from dapr_common.observe.logs import get_logger
from dapr_common.observe.metrics import Registry
from dapr_common.program import observed
from dapr_placement.metrics import PlacementMetrics
from dapr_placement.server import PlacementServer
from dapr_placement.service import PlacementService
from dapr_placement.settings import Settings
from dapr_placement.state_page import PATH, StatePage

_LOG = get_logger("dapr.placement")
_SERVER = "placement-server"


async def run(settings: Settings) -> None:
    """Serve until cancelled. Raises ``FatalError``."""
    readiness = Readiness([_SERVER])
    registry = Registry()
    metrics = PlacementMetrics(registry)
    service = PlacementService(
        settings.node_id, settings.rules, metrics, secured=settings.tls is not None
    )
    pages = {PATH: StatePage(service).answer} if settings.shows_state else {}
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(
            observed(settings.service, registry, readiness, _LOG, pages)
        )
        server = PlacementServer(
            service.method,
            None,
            keepalive_time=settings.keepalive_time,
            keepalive_timeout=settings.keepalive_timeout,
        )
        stack.push_async_callback(server.close)
        await server.open(settings.listen_address, settings.port)
        readiness.ready(_SERVER)
        gc.collect()
        gc.freeze()
        stack.callback(service.close)
        service.lead(lambda: True)
        await asyncio.Event().wait()
