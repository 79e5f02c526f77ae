"""Input bindings: asked for once, started while the app is healthy, kept trying."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.bindings.delivery import EventDelivery, Probe, is_named_input, route_of
from dapr_sidecar.blocks.bindings.output import BindingsBlock
from dapr_sidecar.components.bindings.base import InputBinding
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.loaded import Loaded

_LOG = get_logger("dapr.runtime.processor.binding")
_DEFAULT_PROBE_SECONDS = 3.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0


class InputBindingSet:
    """Every live input binding of this sidecar.

    One whose app or broker does not answer at first is tried again until it is stopped; it does
    not keep the others from starting.
    """

    def __init__(
        self,
        context: SidecarContext,
        outputs: BindingsBlock,
        *,
        probe_timeout: float = _DEFAULT_PROBE_SECONDS,
    ) -> None:
        self._context = context
        self._outputs = outputs
        self._probe = Probe(context, probe_timeout if probe_timeout > 0 else _DEFAULT_PROBE_SECONDS)
        self._started: dict[str, InputBinding] = {}
        self._retrying: dict[str, asyncio.Task[None]] = {}
        self._running = False
        self._lock = asyncio.Lock()

    @property
    def started(self) -> Sequence[str]:
        """The names of the bindings that deliver now."""
        return list(self._started)

    async def start(self) -> None:
        """Start what the app wants to hear of."""
        async with self._lock:
            if self._running or self._context.channel is None:
                return
            self._running = True
            for name in list(self._context.components.input_bindings):
                await self._begin(name)

    async def stop(self) -> None:
        """Stop delivering and wait for what is under way; ``start`` begins again."""
        async with self._lock:
            self._running = False
            names = {*self._started, *self._retrying}
            await asyncio.gather(*(self._end(name) for name in names))

    async def component_changed(self, name: str) -> None:
        """A component of this name came, changed or went."""
        async with self._lock:
            if not self._running:
                return
            await self._end(name)
            if name in self._context.components.input_bindings:
                await self._begin(name)

    async def _begin(self, name: str) -> None:
        try:
            await self._try(name)
        except Exception as error:  # noqa: BLE001 - whatever it was, it may be better later
            _LOG.error("error reading from input binding %s: %s", name, error)
            self._retrying[name] = asyncio.create_task(
                self._keep_trying(name), name=f"input binding {name}"
            )

    async def _try(self, name: str) -> None:
        loaded = self._context.components.input_bindings.get(name)
        if loaded is None:
            return
        if not is_named_input(loaded) and not await self._probe.is_wanted(loaded):
            _LOG.info("app has not subscribed to binding %s.", name)
            return
        await loaded.component.start(self._handler(name, loaded))
        self._started[name] = loaded.component

    async def _keep_trying(self, name: str) -> None:
        pause = _FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            try:
                await self._try(name)
            except Exception as error:  # noqa: BLE001 - as above
                _LOG.warning("input binding %s does not start yet: %s", name, error)
            else:
                self._retrying.pop(name, None)
                return

    async def _end(self, name: str) -> None:
        retry = self._retrying.pop(name, None)
        if retry is not None:
            retry.cancel()
            await asyncio.gather(retry, return_exceptions=True)
        component = self._started.pop(name, None)
        if component is not None:
            try:
                await component.stop()
            except Exception as error:  # noqa: BLE001 - a broken binding must not keep the rest
                _LOG.warning("error stopping input binding %s: %s", name, error)

    def _handler(self, name: str, loaded: Loaded[InputBinding]) -> EventDelivery:
        return EventDelivery(self._context, self._outputs, name, route_of(loaded))
