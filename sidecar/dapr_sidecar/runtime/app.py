"""The application's side of the life cycle: wait for its port, follow its health, feed it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.runtime")
_DIAL_SECONDS = 0.5
_DIAL_PAUSE_SECONDS = 0.1
_TRIES_PER_LOG = 100


class Feeder(Protocol):
    """Something that delivers to the app while it is healthy: subscriptions, input bindings."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Prober(Protocol):
    """Watches the app's health; ``run`` returns only when cancelled."""

    async def run(self, on_change: Callable[[bool], Awaitable[None]]) -> None: ...


class AppLifecycle:
    """Runs from the time the APIs listen until the sidecar stops."""

    def __init__(
        self,
        address: str,
        port: int,
        *,
        tls: bool,
        prober: Prober | None,
        first_time: Callable[[], Awaitable[None]],
        feeders: Sequence[Feeder],
    ) -> None:
        self._address = address
        self._port = port
        self._tls = tls
        self._prober = prober
        self._first_time = first_time
        self._feeders = feeders
        self._met = False
        self._feeding = False
        self._stopped = False
        self._healthy = asyncio.Event()
        self._unhealthy = asyncio.Event()
        self._unhealthy.set()

    @property
    def is_healthy(self) -> bool:
        """Whether the app takes deliveries now."""
        return self._healthy.is_set()

    @property
    def has_probes(self) -> bool:
        """Whether app health checks are on."""
        return self._prober is not None

    async def run(self, initialised: Callable[[], None]) -> None:
        """Wait for the port, then follow the app's health until cancelled.

        ``initialised`` is called when the sidecar counts as running.
        """
        await wait_for_port(self._address, self._port, tls=self._tls)
        if self._prober is None:
            await self._change(True)
            initialised()
            return
        initialised()
        await self._prober.run(self._change)

    async def wait_unhealthy(self) -> None:
        """Return once the app is not healthy."""
        await self._unhealthy.wait()

    async def stop_feeding(self) -> None:
        """Stop deliveries for good."""
        self._stopped = True
        await self._stop()

    async def _change(self, healthy: bool) -> None:
        if healthy:
            self._unhealthy.clear()
            self._healthy.set()
            if not self._met:
                await self._first_time()
                self._met = True
            if not self._stopped and not self._feeding:
                self._feeding = True
                for feeder in self._feeders:
                    await feeder.start()
        else:
            self._healthy.clear()
            self._unhealthy.set()
            await self._stop()

    async def _stop(self) -> None:
        if self._feeding:
            self._feeding = False
            await asyncio.gather(*(feeder.stop() for feeder in self._feeders))


async def wait_for_port(address: str, port: int, *, tls: bool) -> None:
    """Dial until the app accepts; without end, saying so now and then."""
    tries = 0
    context = _unverified() if tls else None
    _LOG.info("application protocol waits on port %d; this will block until it accepts", port)
    while True:
        tries += 1
        try:
            async with asyncio.timeout(_DIAL_SECONDS):
                _, writer = await asyncio.open_connection(address, port, ssl=context)
            writer.close()
            _LOG.info("application discovered on port %d", port)
            return
        except (OSError, TimeoutError):
            if tries % _TRIES_PER_LOG == 0:
                _LOG.info("still waiting for the application on %s:%d", address, port)
            await asyncio.sleep(_DIAL_PAUSE_SECONDS)


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # an app's certificate is its own business, as in Dapr
    return context
