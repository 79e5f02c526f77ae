"""One placement server from start to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from datetime import timedelta

from dapr_common.aio.run import FatalError
from dapr_common.observe.health import Readiness
from dapr_common.observe.logs import get_logger
from dapr_common.observe.metrics import Registry
from dapr_common.program import observed
from dapr_common.security.control_plane import ControlPlaneIdentity, identity_request
from dapr_common.security.errors import SecuritySettingsError
from dapr_placement.leadership import Leadership, leadership
from dapr_placement.metrics import PlacementMetrics
from dapr_placement.server import PlacementServer
from dapr_placement.service import PlacementService
from dapr_placement.settings import Settings
from dapr_placement.state_page import PATH, StatePage

_LOG = get_logger("dapr.placement")
_SECURITY, _SERVER = "security-provider", "placement-server"


async def run(settings: Settings) -> None:
    """Serve until cancelled. Raises ``FatalError``."""
    readiness = Readiness([_SECURITY, _SERVER])
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
        identity = await _identity(settings, metrics)
        readiness.ready(_SECURITY)
        leading = await stack.enter_async_context(leadership(settings))
        server = PlacementServer(
            service.method,
            None if identity is None else identity.contexts,
            keepalive_time=settings.keepalive_time,
            keepalive_timeout=settings.keepalive_timeout,
        )
        stack.push_async_callback(server.close)
        await server.open(settings.listen_address, settings.port)
        readiness.ready(_SERVER)
        stack.callback(readiness.unready, _SERVER)
        gc.collect()
        gc.freeze()
        await _serve(service, leading, identity, settings.exit_when_idle)


async def _serve(
    service: PlacementService,
    leading: Leadership,
    identity: ControlPlaneIdentity | None,
    exit_when_idle: timedelta | None,
) -> None:
    async with asyncio.TaskGroup() as tasks:
        kept_up = [leading.run(lambda: _lead(service, leading))]
        if identity is not None:
            kept_up.append(identity.run())
        running = [tasks.create_task(each) for each in kept_up]
        try:
            await _until_idle(service, exit_when_idle)
        finally:
            service.close()  # with its own words, and before another server is let in
            for task in running:
                task.cancel()


async def _until_idle(service: PlacementService, limit: timedelta | None) -> None:
    if limit is None:
        await asyncio.Event().wait()
    else:
        await service.idle(limit.total_seconds())
        _LOG.info("No sidecar has been connected for %g s: ending", limit.total_seconds())


async def _lead(service: PlacementService, leading: Leadership) -> None:
    """Serve while this one leads; followers take over tables that are made anew."""
    service.lead(leading.is_held)
    try:
        await asyncio.Event().wait()
    finally:
        service.resign()


async def _identity(settings: Settings, metrics: PlacementMetrics) -> ControlPlaneIdentity | None:
    if settings.tls is None:
        return None
    try:
        request = identity_request(
            "placement",
            os.environ,
            trust_domain=settings.tls.trust_domain,
            sentry_address=settings.tls.sentry_address,
            in_cluster=settings.kubernetes,
        )
        identity = ControlPlaneIdentity(request, settings.tls.trust_anchors_file, metrics)
        await identity.start()
    except SecuritySettingsError as error:
        raise FatalError(str(error)) from error
    return identity
