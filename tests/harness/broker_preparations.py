"""What has to be there before a component can use its broker, as its user would make it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from harness.component_table import Maker


async def _jetstream(maker: Maker) -> None:
    """A stream; the component finds streams and makes none."""
    import nats

    client = await nats.connect(f"nats://{maker.variables['backend']}")
    await client.jetstream().add_stream(name="orders", subjects=["orders.>"])
    await client.close()


PREPARATIONS: dict[str, Callable[[Maker], Awaitable[None]]] = {"pubsub.jetstream": _jetstream}
