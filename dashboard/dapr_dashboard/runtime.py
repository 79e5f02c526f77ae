"""One dashboard from start to stop: a source, its pages, a receiver of spans."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from dapr_cli.install import locate
from dapr_common.aio.host import join_host_port
from dapr_common.aio.run import FatalError
from dapr_common.observe.health import Readiness
from dapr_common.observe.logs import get_logger
from dapr_common.observe.metrics import Registry
from dapr_common.output import show
from dapr_common.program import observed
from dapr_dashboard.facts import Facts
from dapr_dashboard.history import History
from dapr_dashboard.model import Source
from dapr_dashboard.receiver import receiver
from dapr_dashboard.server import Dashboard
from dapr_dashboard.settings import Settings
from dapr_dashboard.sidecars import Sidecars
from dapr_dashboard.sources.local import LocalSource

_LOG = get_logger("dapr.dashboard")
_LOCAL = "127.0.0.1"
_SAMPLE_SECONDS = 5.0
_CLUSTER_SAMPLE_SECONDS = 15.0
_STOP_SECONDS = 5.0
_PAGES = "dashboard"


async def run(settings: Settings) -> None:
    """Serve until cancelled. Raises ``FatalError``."""
    readiness = Readiness([_PAGES])
    async with AsyncExitStack() as stack:
        if settings.service.healthz_port:
            served = observed(settings.service, Registry(), readiness, _LOG)
            await stack.enter_async_context(served)
        source, sidecars = _source(settings)
        stack.push_async_callback(source.close)
        stack.push_async_callback(sidecars.close)
        seconds = _CLUSTER_SAMPLE_SECONDS if settings.kubernetes else _SAMPLE_SECONDS
        history = History(source, sidecars, seconds)
        facts = Facts(source, sidecars)
        dashboard = Dashboard(facts, history, base_path=settings.base_path)
        await stack.enter_async_context(_receiving(dashboard, settings))
        url = await stack.enter_async_context(_serving(dashboard, settings))
        readiness.ready(_PAGES)
        show(f"Dapr dashboard: {url}  (Ctrl-C ends it)")
        await dashboard.history.run()


def _source(settings: Settings) -> tuple[Source, Sidecars]:
    """Raises ``FatalError``."""
    if settings.kubernetes:
        return _cluster(settings)
    return LocalSource(locate(settings.runtime_path)), Sidecars()


def _cluster(settings: Settings) -> tuple[Source, Sidecars]:
    from dapr_cli.kube.kubeconfig import find_login
    from dapr_common.kube.api_errors import LoginError
    from dapr_common.kube.login import service_account_login
    from dapr_dashboard.sources.cluster import ClusterSource

    try:
        # In a pod nobody has a home to look for a kubeconfig in.
        is_pod = settings.is_in_cluster and not os.environ.get("KUBECONFIG")
        login = service_account_login(os.environ) if is_pod else find_login()
    except LoginError as error:
        raise FatalError(str(error)) from error
    sidecars = Sidecars(None if settings.is_in_cluster else login)
    source = ClusterSource(
        login,
        sidecars,
        namespace=settings.namespace,
        system=settings.control_plane_namespace,
        inside=settings.is_in_cluster,
    )
    return source, sidecars


@asynccontextmanager
async def _serving(dashboard: Dashboard, settings: Settings) -> AsyncIterator[str]:
    host = _LOCAL if settings.address == "localhost" else settings.address
    app = dashboard.application([*settings.allowed_hosts, settings.address])
    async with _listening(app, host, settings.port) as port:
        if host not in (_LOCAL, "::1"):
            _LOG.warning(
                "Everybody who reaches %s sees these pages: there is no login", settings.address
            )
        shown = "localhost" if host == _LOCAL else host
        yield f"http://{join_host_port(shown, port)}{settings.base_path}"


@asynccontextmanager
async def _receiving(dashboard: Dashboard, settings: Settings) -> AsyncIterator[None]:
    """Spans are taken when the port is free: else it is likely a Zipkin's, which shows them."""
    async with AsyncExitStack() as stack:
        if settings.kubernetes or not settings.zipkin_port:
            dashboard.receiver_problem = "the receiver is off (--zipkin-port)"
            if settings.kubernetes:
                dashboard.receiver_problem = "in a cluster they go to a collector"
        else:
            try:
                app = receiver(dashboard.traces)
                listening = _listening(app, _LOCAL, settings.zipkin_port)
                dashboard.receiver_port = await stack.enter_async_context(listening)
            except FatalError:
                port = settings.zipkin_port
                dashboard.receiver_problem = (
                    f"port {port} is taken; if a Zipkin has it, see http://localhost:{port}"
                )
        yield


@asynccontextmanager
async def _listening(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Serve an application; yields its port. Raises ``FatalError``."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    except OSError as error:
        if runner.addresses:
            raise
        raise FatalError(
            f"port {port} of {host} cannot be listened on: {error.strerror or error}; "
            "--port chooses another"
        ) from error
    finally:
        await runner.cleanup()
