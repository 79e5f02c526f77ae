"""A NATS client's connection where its library waits too long for a silent peer."""

from __future__ import annotations

import asyncio
from typing import Any

from nats.aio.client import Client

_LOOK_SECONDS = 5.0
_CLOSE_SECONDS = 3.0


async def keep_moving(client: Client) -> None:
    """Until cancelled: reset a connection that was given up and has not sent everything.

    The library connects again only when the old connection has, which is never when nobody reads.
    """
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        transport = _transport(client)
        if client.is_reconnecting and transport is not None and transport.is_closing():
            transport.abort()


def drop_attempt(client: Client) -> None:
    """Close a connection that came to nothing: the library makes the next, and forgets it."""
    transport = _transport(client)
    if transport is not None and (client.is_connecting or client.is_reconnecting):
        transport.abort()


async def end(client: Client) -> None:
    """Send what is left, for a few seconds at most, and close; safe to call twice."""
    closing = asyncio.ensure_future(client.close())
    _, late = await asyncio.wait((closing,), timeout=_CLOSE_SECONDS)
    if late:
        # The library waits for the peer whether it is cancelled or not.
        if (transport := _transport(client)) is not None:
            transport.abort()
        _, late = await asyncio.wait((closing,), timeout=_CLOSE_SECONDS)
        for task in late:
            task.cancel()
    if not closing.cancelled() and closing.done():
        closing.exception()  # the server may be gone


def _transport(client: Client) -> Any:
    """The socket's transport; ``None`` when there is none, or it is a web socket's."""
    writer = getattr(client._transport, "_io_writer", None)  # noqa: SLF001
    return None if writer is None else writer.transport
