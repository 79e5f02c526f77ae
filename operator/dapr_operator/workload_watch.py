"""kopf, in a thread of its own: it takes a whole event loop for its property.

Where it runs it takes the process's signals, and at its end it cancels every task of the loop that
was not there before it. So it gets its own loop, and tells the operator's what it sees.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import ssl
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

import kopf
from kopf._cogs.structs.references import Insights  # there is no public name for it

from dapr_common.grpc.backoff import Backoff
from dapr_common.kube.api_errors import KubeError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import CRDS, Kind
from dapr_common.kube.login import Login
from dapr_common.observe.logs import get_logger
from dapr_operator.handlers.workloads import Told, register

_LOG = get_logger("dapr.operator.workloads")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_STOP_SECONDS = 5.0
_LOOK_SECONDS = 10.0
_AT_A_TIME = 100
_IDLE_SECONDS = 0.01
_ERROR_PAUSES = (0.5, 1, 2, 4, 5, 5, 5, 5)

T = TypeVar("T")


class WorkloadWatch:
    """Tells of every workload of some kinds, in the event loop ``run`` runs in."""

    def __init__(self, login: Login, kinds: Iterable[Kind], namespace: str, told: Told) -> None:
        self._login = login
        self._kinds = tuple(kinds)
        self._namespace = namespace
        self._told = told

    async def run(self) -> None:
        """Watch until cancelled; whatever ends kopf, it is started anew."""
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            why = await self._run_once(loop)
            if loop.time() - began > _LONGEST_PAUSE:
                backoff.reset()
            pause = backoff.next()
            _LOG.warning("Workloads are followed again in %.1f s: %s", pause, why)
            await asyncio.sleep(pause)

    async def _run_once(self, loop: asyncio.AbstractEventLoop) -> str:
        watch = _Thread(self._registry(loop), self._kinds, self._namespace, loop)
        watch.start()
        try:
            return await asyncio.shield(watch.ended)
        finally:
            watch.stop()
            if not watch.ended.done():
                await asyncio.wait({watch.ended}, timeout=_STOP_SECONDS)

    def _registry(self, loop: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        login = self._login
        told = Told(
            saw=lambda workload: _tell(loop, self._told.saw, workload),
            lost=lambda key: _tell(loop, self._told.lost, key),
        )
        register(registry, self._kinds, told)

        async def log_in(**_: object) -> kopf.ConnectionInfo:
            return _Connection(
                server=login.server,
                token=login.token() or None,
                default_namespace=login.namespace,
                context=login.tls,
            )

        kopf.on.login(registry=registry)(log_in)
        return registry


async def when_served(client: KubeClient, kind: Kind) -> None:
    """Wait for a kind that may be installed later."""
    name = f"{kind.plural}.{kind.group}"
    said = False
    while True:
        try:
            await client.get(CRDS, name)
        except KubeError as error:
            if not said:
                _LOG.info("%s are not followed yet: %s", kind.plural, error)
            said = True
            await asyncio.sleep(_LOOK_SECONDS)
        else:
            return


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Connection(kopf.ConnectionInfo):
    """The operator's own login, TLS and all."""

    context: ssl.SSLContext | None

    def as_ssl_context(self) -> ssl.SSLContext:
        return self.context or super().as_ssl_context()


class _Thread:
    """One run of kopf. ``ended`` gets the reason."""

    def __init__(
        self,
        registry: kopf.OperatorRegistry,
        kinds: Iterable[Kind],
        namespace: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.ended: asyncio.Future[str] = loop.create_future()
        self._registry = registry
        self._kinds = tuple(kinds)
        self._namespaces = [namespace] if namespace else []
        self._loop = loop
        self._thread = threading.Thread(target=self._main, name="kopf", daemon=True)
        self._stop = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _main(self) -> None:
        try:
            asyncio.run(self._operate())
            why = "kopf has ended"
        except BaseException as error:  # noqa: BLE001 - reported where it is waited for
            why = f"kopf has failed: {error!r}"
        _tell(self._loop, self._end, why)

    def _end(self, why: str) -> None:
        if not self.ended.done():
            self.ended.set_result(why)

    async def _operate(self) -> None:
        insights = Insights()
        operating = asyncio.ensure_future(
            kopf.operator(
                registry=self._registry,
                settings=_settings(),
                insights=insights,
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop,
            )
        )
        looking = asyncio.ensure_future(insights.ready_resources.wait())
        await asyncio.wait({operating, looking}, return_when=asyncio.FIRST_COMPLETED)
        missed = self._missed(insights)
        if missed and not operating.done():
            self._stop.set()
        await operating
        if missed:
            raise RuntimeError(f"it does not see {', '.join(missed)}")

    def _missed(self, insights: Insights) -> list[str]:
        """kopf looks once which kinds there are. An API server that starts may not say all."""
        seen = {(one.group, one.version, one.plural) for one in insights.watched_resources}
        wanted = {(kind.group, kind.version, kind.plural) for kind in self._kinds}
        return sorted(plural for _, _, plural in wanted - seen)


def _settings() -> kopf.OperatorSettings:
    """Quiet, writing nothing, and asking for no more than to list and watch."""
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # It warns that it leaves signals alone in a thread, which is what the thread is for.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.process.ultimate_exiting_timeout = None
    settings.queueing.worker_limit = _AT_A_TIME
    # A worker holds its place while it is idle: of many workloads each would wait for that.
    settings.queueing.idle_timeout = _IDLE_SECONDS
    settings.networking.error_backoffs = _ERROR_PAUSES
    settings.watching.server_timeout = 300
    settings.watching.initial_streaming = False
    return settings


def _tell(loop: asyncio.AbstractEventLoop, tell: Callable[[T], None], what: T) -> None:
    with contextlib.suppress(RuntimeError):  # the operator's loop is closed: nobody listens
        loop.call_soon_threadsafe(tell, what)
