"""The relays of every outbox of this sidecar.

They live as long as the sidecar serves, whether the app is healthy or not: what they publish is
not for the app alone, and a broker may keep events only for who has subscribed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from dapr_common.kube.resources import Component
from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.pubsub.publish import Prepared, PubSubBlock
from dapr_sidecar.blocks.state.outbox import Place, Target, TransactionalOutbox
from dapr_sidecar.blocks.state.outbox_event import internal_topic
from dapr_sidecar.blocks.state.outbox_relay import OutboxRelay, Waits
from dapr_sidecar.blocks.state.rules import StoreRules
from dapr_sidecar.components.pubsub.base import Subscription

_LOG = get_logger("dapr.runtime.outbox")
_FIRST_WAIT, _WAIT_FACTOR, _LONGEST_WAIT = 0.5, 1.5, 60.0
_CLOSE_SECONDS = 30.0


class _Subscribed:
    """One internal topic, subscribed for as long as this lives; tried until it works."""

    def __init__(
        self,
        block: PubSubBlock,
        place: Place,
        targets: tuple[Target, ...],
        relay: OutboxRelay,
        subscribed: asyncio.Event,
    ) -> None:
        self.targets = targets
        self._block = block
        self._place = place
        self._relay = relay
        self._live: Subscription | None = None
        self._subscribed = subscribed
        self._task = asyncio.get_running_loop().create_task(self._keep_trying())

    async def close(self) -> None:
        """Stop; running deliveries finish, the rest stays at the broker."""
        self._task.cancel()
        await asyncio.wait([self._task])
        live, self._live = self._live, None
        if live is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await live.close()
        except Exception as error:  # noqa: BLE001 - a broker that is gone ends nothing else
            _LOG.warning("the subscription of outbox topic %s did not end: %s", *self._shown(error))

    async def _keep_trying(self) -> None:
        wait = _FIRST_WAIT
        while True:
            try:
                self._live = await self._subscribe()
            except Exception as error:  # noqa: BLE001 - tried again for ever, and said each time
                _LOG.error("failed to subscribe to outbox topic %s: %s", *self._shown(error))
            else:
                self._subscribed.set()
                return
            await asyncio.sleep(wait)
            wait = min(wait * _WAIT_FACTOR, _LONGEST_WAIT)

    async def _subscribe(self) -> Subscription:
        pubsub, topic = self._place
        loaded = self._block.context.components.pubsub.get(pubsub)
        if loaded is None:
            raise LookupError(f"pubsub {pubsub} is not found")
        # The sidecar subscribes here, not the app: the component's subscription scopes say nothing.
        prefix = loaded.extra.prefix if isinstance(loaded.extra, Prepared) else ""
        return await loaded.component.subscribe(prefix + topic, {}, self._relay.handle)

    def _shown(self, error: Exception) -> tuple[str, str]:
        pubsub, topic = self._place
        return f"{topic} on {pubsub}", str(error) or type(error).__name__


class OutboxDelivery:
    """Follows the loaded state stores; each internal topic has one relay."""

    def __init__(
        self, block: PubSubBlock, outbox: TransactionalOutbox, waits: Waits | None = None
    ) -> None:
        self._block = block
        self._outbox = outbox
        self._waits = waits or Waits()
        self._live: dict[Place, _Subscribed] = {}
        self._running = False
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Begin to publish what waits."""
        async with self._turn:
            self._running = True
            await self._reconcile()

    async def stop(self) -> None:
        """Hold; what is under way finishes, the rest waits at the brokers."""
        async with self._turn:
            self._running = False
            await self._reconcile()

    async def component_changed(self, manifest: Component) -> None:
        """A state store or pubsub component came, changed or went."""
        async with self._turn:
            if manifest.category == "pubsub":
                places = [place for place in self._live if place[0] == manifest.name]
                for place in places:
                    self._outbox.subscribed(place).clear()  # it may be another broker now
                await self._close(places)
            await self._reconcile()

    async def _reconcile(self) -> None:
        wanted = self._wanted() if self._running else {}
        await self._close(
            place for place, live in self._live.items() if wanted.get(place) != live.targets
        )
        for place, targets in wanted.items():
            if place not in self._live:
                relay = OutboxRelay(self._block, self._outbox.outcomes, targets, self._waits)
                subscribed = self._outbox.subscribed(place)
                self._live[place] = _Subscribed(self._block, place, targets, relay, subscribed)

    async def _close(self, places: Iterable[Place]) -> None:
        await asyncio.gather(*[self._live.pop(place).close() for place in list(places)])

    def _wanted(self) -> Mapping[Place, tuple[Target, ...]]:
        context = self._block.context
        identity = context.identity
        wanted: dict[Place, tuple[Target, ...]] = {}
        for name, loaded in context.components.state.items():
            rules = loaded.extra
            if not isinstance(rules, StoreRules) or rules.outbox is None:
                continue
            settings = rules.outbox
            topic = internal_topic(
                identity.invocation_namespace, identity.app_id, settings.publish_topic
            )
            place = (settings.internal_pubsub, topic)
            wanted[place] = (*wanted.get(place, ()), Target(name, settings))
        return wanted
