"""One sidecar from start to stop: build, start, serve, drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import time
from collections.abc import MutableMapping

from dapr_common.aio.host import NoHostAddressError
from dapr_common.aio.listeners import BindError
from dapr_common.durations import format_go_duration
from dapr_common.observe import service_manager
from dapr_common.observe.logs import get_logger, toggle_debug
from dapr_common.security.errors import IdentityError, SecuritySettingsError
from dapr_sidecar.blocks.access_control import AccessControlError
from dapr_sidecar.options import Options
from dapr_sidecar.runtime import configuration as configurations
from dapr_sidecar.runtime.assembly import Sidecar
from dapr_sidecar.runtime.configuration import ConfigurationError
from dapr_sidecar.runtime.opening import InitError
from dapr_sidecar.runtime.preparation import MissingDirectoryError, Preparation
from dapr_sidecar.runtime.reload import HotReload
from dapr_sidecar.runtime.resources import SourceError
from dapr_sidecar.telemetry.base import MetricsError
from dapr_sidecar.telemetry.tracing import TracingError

_LOG = get_logger("dapr.runtime")
_FORCED_EXIT_SECONDS = 0.1


class FatalError(Exception):
    """The sidecar cannot run; the text is the end of the fatal log line."""


_CHANGE_REFUSALS = (ConfigurationError, AccessControlError, MetricsError, TracingError)
_REFUSALS = (*_CHANGE_REFUSALS, SecuritySettingsError, NoHostAddressError, MissingDirectoryError)


class Runtime:
    """Runs one sidecar in this process."""

    def __init__(self, options: Options, environment: MutableMapping[str, str]) -> None:
        self._options = options
        self._started = time.monotonic()
        self._stopping = asyncio.Event()
        self._signals = 0
        self._restarting = False
        self._sidecar: Sidecar | None = None
        self._preparation = Preparation(options, environment, self._ask_to_stop)

    async def run(self) -> int:
        """Serve until asked to stop, starting over on SIGHUP. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        loop.add_signal_handler(signal.SIGUSR1, toggle_debug)
        while True:
            status = await self._run_once()
            if status or not self._restarting:
                return status
            self._restarting = False
            self._stopping.clear()
            _LOG.info("Starting over")
            self._started = time.monotonic()

    async def _run_once(self) -> int:
        status = 0
        try:
            await self._serve()
        except IdentityError as error:
            status = _fatal(f"failed to retrieve the initial identity: {error}")
        except _REFUSALS as error:
            status = _fatal(str(error))
        except (FatalError, BindError, OSError, SourceError) as error:
            status = _fatal(f"Fatal error from runtime: {_described(error)}")
        except ExceptionGroup as group:
            _LOG.error("a part of the runtime failed", exc_info=group)
            status = _fatal(f"Fatal error from runtime: {group.exceptions[0]}")
        except Exception:  # noqa: BLE001 - the process ends with a log line, not a traceback
            _LOG.critical("Fatal error from runtime", exc_info=True)
            status = 1
        return await self._stop() or status

    # --- start ------------------------------------------------------------------------------

    async def _serve(self) -> None:
        stopping = asyncio.create_task(self._stopping.wait(), name="stop")
        running = asyncio.create_task(self._start_and_watch(), name="runtime")
        try:
            done, _ = await asyncio.wait({stopping, running}, return_when=asyncio.FIRST_COMPLETED)
            if running in done:
                running.result()
                await stopping
            if self._sidecar is not None:
                await self._block_shutdown(self._sidecar)
        finally:
            for task in (stopping, running):
                task.cancel()
            await asyncio.gather(stopping, running, return_exceptions=True)

    async def _start_and_watch(self) -> None:
        ready = await self._preparation.run()
        sidecar, resources, security = ready.sidecar, ready.resources, self._preparation.security
        self._sidecar = sidecar
        in_cluster = ready.cluster is not None
        reloads = "HotReload" in configurations.enabled_features(sidecar.configuration)
        try:
            # Without reload nothing would ever try a component of the cluster again.
            await sidecar.load(resources, strict=not (in_cluster and reloads))
        except InitError as error:
            raise FatalError(f"process component {error.manifest.name} error: {error}") from error
        await sidecar.start_servers()
        gc.unfreeze()  # what a run before a restart left
        gc.collect()
        gc.freeze()
        async with asyncio.TaskGroup() as tasks:
            if security is not None:
                tasks.create_task(security.source.run(), name="identity")
            if reloads and (in_cluster or self._options.resources_paths):
                reload = HotReload(
                    ready.source, sidecar, sidecar.statuses, resources, _CHANGE_REFUSALS
                )
                tasks.create_task(reload.run(), name="hot-reload")
            if ready.cluster is not None:
                reports = ready.cluster.reports(sidecar.statuses)
                tasks.create_task(reports.run(), name="status-reports")
            await sidecar.run(tasks, self._initialised)
            # Not once the app is healthy, too: it may be what starts after its sidecar.
            service_manager.ready()

    def _initialised(self) -> None:
        elapsed = round((time.monotonic() - self._started) * 1000)
        _LOG.info("dapr initialized. Status: Running. Init Elapsed %dms", elapsed)

    # --- stop -------------------------------------------------------------------------------

    def _signalled(self, number: int) -> None:
        self._signals += 1
        name = signal.Signals(number).name.removeprefix("SIG")
        if self._signals > 1:
            _LOG.critical("Received signal '%s' during shutdown; exiting immediately", name)
            os._exit(1)
        _LOG.info("Received signal '%s'; beginning shutdown", name)
        self._end()

    def _hung_up(self) -> None:
        _LOG.info("Received signal 'HUP'; starting over with what is configured now")
        self._start_over()

    def _start_over(self) -> None:
        if self._stopping.is_set():
            return  # what is under way ends in a stop, or reads everything anew by itself
        try:
            self._preparation.check_configuration()
        except ConfigurationError as error:
            _LOG.error("not starting over, the running configuration stays: %s", error)
            return
        self._restarting = True
        self._stopping.set()

    def _end(self) -> None:
        self._restarting = False
        service_manager.stopping()
        self._stopping.set()

    def _ask_to_stop(self, forced: bool) -> None:
        if forced:
            asyncio.get_running_loop().call_later(_FORCED_EXIT_SECONDS, os._exit, 1)
            return
        # The answer to the shutdown call goes out first.
        asyncio.get_running_loop().call_soon(self._end)

    async def _block_shutdown(self, sidecar: Sidecar) -> None:
        block = self._options.block_shutdown
        if block is None or not self._signals:
            return
        shown = format_go_duration(block)
        _LOG.info("Blocking graceful shutdown for %s or until app reports unhealthy...", shown)
        sidecar.readiness.unready("runtime")
        await sidecar.stop_feeding()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(block.total_seconds()):
                await sidecar.wait_app_unhealthy()
        _LOG.info("Block shutdown period expired or app is unhealthy, shutting down")

    async def _stop(self) -> int:
        sidecar, self._sidecar = self._sidecar, None
        await self._preparation.close()
        if sidecar is None:
            return 0
        grace = self._options.graceful_shutdown
        try:
            async with asyncio.timeout(grace):
                await sidecar.stop(grace)
        except TimeoutError:
            _LOG.critical("Graceful shutdown timeout exceeded, forcing shutdown")
            os._exit(1)
        _LOG.info("Daprd shutdown gracefully")
        return 0


def _described(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


def _fatal(text: str) -> int:
    _LOG.critical("%s", text)
    return 1
