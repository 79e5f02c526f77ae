"""What has to be there before a component can use its broker, as its user would make it."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Awaitable, Callable

from harness.component_table import Maker

from dapr_sidecar.components.aws.queue import sqs_client
from dapr_sidecar.components.aws.settings import AwsSettings
from dapr_sidecar.components.metadata import decode_settings


async def _jetstream(maker: Maker) -> None:
    """A stream; the component finds streams and makes none."""
    import nats

    client = await nats.connect(f"nats://{maker.variables['backend']}")
    await client.jetstream().add_stream(name="orders", subjects=["orders.>"])
    await client.close()


async def _sqs(maker: Maker) -> None:
    """A queue; the binding makes none."""
    settings = decode_settings(AwsSettings, maker.properties({}))
    client = sqs_client(settings)
    await client.call("CreateQueue", {"QueueName": maker.properties({})["queueName"]})
    await client.close()


async def _s3(maker: Maker) -> None:
    """A bucket; the binding makes none."""
    properties = maker.properties({})
    url = f"{properties['endpoint']}/{properties['bucket']}"
    request = urllib.request.Request(url, method="PUT")
    await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=20).close())


PREPARATIONS: dict[str, Callable[[Maker], Awaitable[None]]] = {
    "pubsub.jetstream": _jetstream,
    "bindings.aws.s3": _s3,
    "bindings.aws.sqs": _sqs,
}
