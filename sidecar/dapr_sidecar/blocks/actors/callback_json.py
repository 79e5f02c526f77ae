"""What an HTTP app gets with a reminder or timer. Pure."""

from __future__ import annotations

import orjson

from dapr_sidecar.blocks.actors.base import Callback


def callback_json(callback: Callback) -> bytes:
    """The body; ``data`` as it was given, left out when there is none."""
    parts: list[bytes] = []
    if callback.data is not None:
        parts.append(b'"data":' + callback.data)
    if callback.kind == "timer":
        parts.append(b'"callback":' + orjson.dumps(callback.callback))
    parts.append(b'"dueTime":' + orjson.dumps(callback.due_time))
    parts.append(b'"period":' + orjson.dumps(callback.period))
    return b"{" + b",".join(parts) + b"}"
