"""What a gRPC app asks for in its answer to an event: the data goes on to other bindings."""

from __future__ import annotations

import asyncio

from dapr_common.errors import DaprError
from dapr_common.observe.logs import get_logger
from dapr_common.wire.dapr.proto.runtime.v1 import appcallback_pb2
from dapr_sidecar.blocks.bindings.output import BindingsBlock
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import Json

_LOG = get_logger("dapr.runtime.processor.binding")
_Response = appcallback_pb2.BindingEventResponse


async def send_on(outputs: BindingsBlock, answer: appcallback_pb2.BindingEventResponse) -> None:
    """Invoke ``create`` of every binding named in ``to``. Failures are logged, never raised."""
    data = _json(answer.data)
    if answer.concurrency == _Response.PARALLEL:
        await asyncio.gather(*(_create(outputs, name, data) for name in answer.to))
        return
    for name in answer.to:
        if not await _create(outputs, name, data):
            return


async def _create(outputs: BindingsBlock, name: str, data: bytes) -> bool:
    try:
        await outputs.invoke(name, "create", data, {})
    except DaprError as error:
        _LOG.error("%s", error)
        return False
    return True


def _json(data: bytes) -> bytes:
    """Compact JSON; what is none becomes ``null``."""
    try:
        return encoding.plain(Json(encoding.loads(data)))
    except ValueError:
        return b"null"
