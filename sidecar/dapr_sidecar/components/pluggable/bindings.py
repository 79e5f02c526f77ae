"""Bindings in processes of their own."""

from __future__ import annotations

from collections.abc import Container

from dapr_common.wire.dapr.proto.components.v1 import bindings_pb2 as pb
from dapr_sidecar.components.base import Component, ComponentContext
from dapr_sidecar.components.bindings.base import (
    Event,
    EventHandler,
    InputBinding,
    InvokeRequest,
    InvokeResponse,
    OutputBinding,
)
from dapr_sidecar.components.consuming.receiver import Receiver
from dapr_sidecar.components.pluggable.link import Link
from dapr_sidecar.components.pluggable.plugged import Plugged, plugged
from dapr_sidecar.components.pluggable.services import INPUT, OUTPUT
from dapr_sidecar.components.pluggable.streaming import Incoming, Wire, receive


def binding_class(served: Container[str], link: Link) -> type[Component]:
    """The class of a binding that goes the ways these services go."""
    ways = {INPUT.full_name: PluggableInput, OUTPUT.full_name: PluggableOutput}
    return plugged(tuple(way for name, way in ways.items() if name in served), link)


class PluggableInput(Plugged, InputBinding):
    """Events come over one stream; the app's answer goes back on it."""

    def __init__(self, settings: object, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._receiver: Receiver[Incoming[Event]] | None = None

    async def start(self, handler: EventHandler) -> None:
        if self._receiver is None:
            wire = Wire(INPUT.method("Read"), None, _event, _acknowledgement)
            self._receiver = await receive(self._context.name, self.link, wire, handler)

    async def stop(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            await receiver.close()

    async def close(self) -> None:
        await self.stop()
        await super().close()


class PluggableOutput(Plugged, OutputBinding):
    """The component says which operations it has."""

    async def open(self) -> None:
        await super().open()
        request, answer = pb.ListOperationsRequest(), pb.ListOperationsResponse
        found = await self.link.call(OUTPUT.method("ListOperations"), request, answer)
        self.operations = tuple(found.operations)  # type: ignore[misc]

    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None:
        message = pb.InvokeRequest(
            data=request.data, metadata=dict(request.metadata), operation=request.operation
        )
        found = await self.link.call(OUTPUT.method("Invoke"), message, pb.InvokeResponse)
        return InvokeResponse(found.data, dict(found.metadata))


def _event(raw: bytes) -> Incoming[Event]:
    message = pb.ReadResponse.FromString(raw)
    return Incoming(message.message_id, Event(message.data, dict(message.metadata)))


def _acknowledgement(incoming: Incoming[Event]) -> pb.ReadRequest:
    failure = pb.AckResponseError(message=incoming.failure) if incoming.failure else None
    return pb.ReadRequest(
        response_data=incoming.answer, message_id=incoming.id, response_error=failure
    )
