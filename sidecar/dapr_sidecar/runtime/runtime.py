"""One sidecar from start to stop: build, start, serve, drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import time
from collections.abc import Mapping, MutableMapping

from dapr_common.aio.host import NoHostAddressError, host_address
from dapr_common.aio.listeners import BindError
from dapr_common.kube.resources import Configuration
from dapr_common.observe.logs import get_logger
from dapr_common.security.errors import IdentityError, SecuritySettingsError
from dapr_sidecar.blocks.access_control import AccessControlError
from dapr_sidecar.identity import SidecarIdentity
from dapr_sidecar.options import Options
from dapr_sidecar.runtime import configuration as configurations
from dapr_sidecar.runtime.assembly import Sidecar
from dapr_sidecar.runtime.configuration import ConfigurationError
from dapr_sidecar.runtime.disk import (
    DuplicateResourceError,
    ResourceDirectories,
    Resources,
)
from dapr_sidecar.runtime.processor import InitError
from dapr_sidecar.runtime.reload import HotReload, secret_stores_first
from dapr_sidecar.telemetry.base import MetricsError
from dapr_sidecar.telemetry.tracing import TracingError

_LOG = get_logger("dapr.runtime")
_FORCED_EXIT_SECONDS = 0.1
_REFUSALS = (
    ConfigurationError,
    AccessControlError,
    MetricsError,
    TracingError,
    SecuritySettingsError,
    NoHostAddressError,
)


class FatalError(Exception):
    """The sidecar cannot run; the text is the fatal log line."""


class Runtime:
    """Runs one sidecar in this process."""

    def __init__(self, options: Options, environment: MutableMapping[str, str]) -> None:
        self._options = options
        self._environment = environment
        self._started = time.monotonic()
        self._stopping = asyncio.Event()
        self._signals = 0
        self._restarting = False
        self._directories = ResourceDirectories((), "", "")

    async def run(self) -> int:
        """Serve until asked to stop, starting over on SIGHUP. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        while True:
            status = await self._run_once()
            if status or not self._restarting:
                return status
            self._restarting = False
            self._stopping.clear()
            _LOG.info("Starting over")
            self._started = time.monotonic()

    async def _run_once(self) -> int:
        try:
            sidecar = self._build()
        except (FatalError, *_REFUSALS) as error:
            return _fatal(str(error))
        except Exception:  # noqa: BLE001 - the process ends with a log line, not a traceback
            _LOG.critical("Fatal error from runtime", exc_info=True)
            return 1
        status = 0
        try:
            await self._serve(sidecar)
        except IdentityError as error:
            status = _fatal(f"failed to retrieve the initial identity: {error}")
        except (FatalError, BindError, OSError, DuplicateResourceError) as error:
            status = _fatal(f"Fatal error from runtime: {_described(error)}")
        except ExceptionGroup as group:
            _LOG.error("a part of the runtime failed", exc_info=group)
            status = _fatal(f"Fatal error from runtime: {group.exceptions[0]}")
        except Exception:  # noqa: BLE001 - the process ends with a log line, not a traceback
            _LOG.critical("Fatal error from runtime", exc_info=True)
            status = 1
        return await self._stop(sidecar) or status

    # --- start ------------------------------------------------------------------------------

    def _build(self) -> Sidecar:
        options = self._options
        configuration = self._read_configuration()
        self._directories = ResourceDirectories(
            options.resources_paths, options.app_id, options.namespace
        )
        for path in options.resources_paths:
            if not os.path.isdir(path):  # noqa: PTH112 - a name from the command line, as given
                raise FatalError(f"failed to load resources: {path}: no such file or directory")
        identity = SidecarIdentity(
            app_id=options.app_id,
            namespace=options.namespace,
            invocation_namespace=options.namespace if options.namespace_set else "default",
            host_address=host_address(self._environment),
            hostname=socket.gethostname(),
            app_port=options.app_port,
        )
        self._environment.update(_described_by_variables(options, identity.host_address))
        return Sidecar(options, identity, configuration, self._environment, self._ask_to_stop)

    async def _serve(self, sidecar: Sidecar) -> None:
        stopping = asyncio.create_task(self._stopping.wait(), name="stop")
        running = asyncio.create_task(self._start_and_watch(sidecar), name="runtime")
        try:
            done, _ = await asyncio.wait({stopping, running}, return_when=asyncio.FIRST_COMPLETED)
            if running in done:
                running.result()
                await stopping
            await self._block_shutdown(sidecar)
        finally:
            for task in (stopping, running):
                task.cancel()
            await asyncio.gather(stopping, running, return_exceptions=True)

    async def _start_and_watch(self, sidecar: Sidecar) -> None:
        await sidecar.get_identity()
        resources = self._directories.read()
        await self._load(sidecar, resources)
        await sidecar.start_servers()
        gc.unfreeze()  # what a run before a restart left
        gc.collect()
        gc.freeze()
        async with asyncio.TaskGroup() as tasks:
            if self._reloads(sidecar.configuration) and self._options.resources_paths:
                reload = HotReload(
                    self._directories.read,
                    sidecar.processor,
                    swap_others=sidecar.swap_resources,
                    component_changed=sidecar.component_changed,
                    configuration_changed=self._start_over,
                    active_configuration=sidecar.configuration.name,
                    loaded=resources,
                    interval=self._options.reconcile_interval,
                )
                tasks.create_task(reload.watch(self._options.resources_paths), name="hot-reload")
            await sidecar.run(tasks, self._initialised)

    def _initialised(self) -> None:
        elapsed = round((time.monotonic() - self._started) * 1000)
        _LOG.info("dapr initialized. Status: Running. Init Elapsed %dms", elapsed)

    def _read_configuration(self) -> Configuration:
        return configurations.load_files(self._options.config_paths, self._environment)

    async def _load(self, sidecar: Sidecar, resources: Resources) -> None:
        ordered = sorted(resources.components, key=secret_stores_first)
        _LOG.info("Loading components…")
        for manifest in ordered:
            try:
                await sidecar.processor.load(manifest)
            except InitError as error:
                name = error.manifest.name
                raise FatalError(f"process component {name} error: {error}") from error
        sidecar.components_loaded()
        await sidecar.swap_resources(resources)

    @staticmethod
    def _reloads(configuration: Configuration) -> bool:
        return "HotReload" in configurations.enabled_features(configuration)

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
            self._read_configuration()
        except ConfigurationError as error:
            _LOG.error("not starting over, the running configuration stays: %s", error)
            return
        self._restarting = True
        self._stopping.set()

    def _end(self) -> None:
        self._restarting = False
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
        _LOG.info("Blocking graceful shutdown for %s or until app reports unhealthy...", block)
        sidecar.readiness.unready("runtime")
        await sidecar.stop_feeding()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(block.total_seconds()):
                await sidecar.wait_app_unhealthy()
        _LOG.info("Block shutdown period expired or app is unhealthy, shutting down")

    async def _stop(self, sidecar: Sidecar) -> int:
        grace = self._options.graceful_shutdown
        try:
            async with asyncio.timeout(grace):
                await sidecar.stop(grace)
        except TimeoutError:
            _LOG.critical("Graceful shutdown timeout exceeded, forcing shutdown")
            os._exit(1)
        _LOG.info("Daprd shutdown gracefully")
        return 0


def _described_by_variables(options: Options, host_address: str) -> Mapping[str, str]:
    """What components may read of this sidecar in the environment, as they can in Dapr."""
    return {
        "APP_ID": options.app_id,
        "APP_PORT": str(options.app_port or ""),
        "HOST_ADDRESS": host_address,
        "DAPR_PORT": str(options.internal_port or ""),
        "DAPR_GRPC_PORT": str(options.grpc_port),
        "DAPR_HTTP_PORT": str(options.http_port),
        "DAPR_METRICS_PORT": str(options.metrics_port),
    }


def _described(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


def _fatal(text: str) -> int:
    _LOG.critical("%s", text)
    return 1
