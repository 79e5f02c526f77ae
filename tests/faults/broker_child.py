"""A process with one pub/sub component, made to be killed. Says what it does, line by line.

Usage: ``broker_child.py consume|publish <type> <properties as JSON> <topic>``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from typing import cast

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import decode_settings
from dapr_sidecar.components.pubsub.base import Message, PublishRequest, PubSub
from dapr_sidecar.components.registry import component_class


def say(word: str, data: bytes) -> None:
    sys.stdout.write(f"{word} {data.decode()}\n")
    sys.stdout.flush()


async def take(message: Message) -> None:
    say("start", message.data)
    await asyncio.sleep(0.005)
    if message.data.endswith(b"0"):
        await asyncio.Event().wait()  # every tenth is under way for ever
    say("done", message.data)


async def publish(component: PubSub, topic: str) -> None:
    for n in itertools.count():
        data = b"%d" % n
        await component.publish(PublishRequest(topic, data, {}))
        say("acknowledged", data)


async def main() -> None:
    what, type_name, properties, topic = sys.argv[1:]
    kind = component_class(type_name, "v1")
    settings = decode_settings(kind.settings, json.loads(properties))
    component = cast(PubSub, kind(settings, ComponentContext("ps", "app")))
    await component.open()
    if what == "publish":
        await publish(component, topic)
    else:
        await component.subscribe(topic, {}, take)
        say("ready", b"")
        await asyncio.Event().wait()


asyncio.run(main())
