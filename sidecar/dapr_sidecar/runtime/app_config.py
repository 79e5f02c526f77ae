"""What the app says about itself: ``GET /dapr/config``, asked once."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from dapr_common.observe.logs import get_logger
from dapr_sidecar.channel.http import HttpChannel

_LOG = get_logger("dapr.runtime")
_TIMEOUT_SECONDS = 10.0


async def read_app_config(channel: HttpChannel, app_id: str) -> dict[str, Any]:
    """The app's own configuration; empty when it has none or it cannot be read."""
    headers = [(b"Content-Type", b"application/json"), (b"Dapr-App-Id", app_id.encode())]
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            response = await channel.request("GET", b"/dapr/config", headers)
            body = await response.read()
    except Exception as error:  # noqa: BLE001 - an app without it is a good app
        _LOG.warning("the app's /dapr/config could not be read: %s", error)
        return {}
    if response.status != 200:
        return {}
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        _LOG.warning("the app's /dapr/config is not JSON and is ignored: %s", error)
        return {}
    return found if isinstance(found, dict) else {}
