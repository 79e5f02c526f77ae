"""gRPC methods of actor calls, and the stream over which an app hosts actors."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, Method
from dapr_common.wire.dapr.proto.runtime.v1 import actors_pb2 as pb
from dapr_sidecar.blocks.actors import headers
from dapr_sidecar.blocks.actors.app_stream import StreamActorApp
from dapr_sidecar.blocks.actors.base import ActorCall, ActorRef, TypeSettings
from dapr_sidecar.blocks.actors.block import ActorBlock
from dapr_sidecar.blocks.actors.hosting import Hosting
from dapr_sidecar.blocks.actors.names import call_problem
from dapr_sidecar.messaging.reading import pairs_of_texts

_SERVICE = "/dapr.proto.runtime.v1.Dapr/"
_JSON_ENDS = (b"{}", b"[]", b'""')
_SCALAR = re.compile(rb"true|false|null|-?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,4})?")
Initial = pb.SubscribeActorEventsRequestInitialAlpha1
ReadInitial = Callable[[Initial], Mapping[str, TypeSettings]]


def methods(block: ActorBlock) -> list[Method]:
    """``InvokeActor``."""

    async def invoke(request: pb.InvokeActorRequest, context: Context) -> pb.InvokeActorResponse:
        ref = ActorRef(request.actor_type, request.actor_id)
        if (problem := call_problem(ref, request.method)) is not None:
            raise RpcError(GrpcCode.INVALID_ARGUMENT, problem)
        call = ActorCall(
            ref,
            request.method,
            request.data,
            headers=pairs_of_texts(request.metadata),
            from_grpc=True,
        )
        call.content_type = headers.first(call.headers, b"content-type") or _guessed(request.data)
        answer = await block.invoke(call)
        return pb.InvokeActorResponse(data=answer.body)

    return [
        Method(
            _SERVICE + "InvokeActor",
            "unary_unary",
            pb.InvokeActorRequest,
            pb.InvokeActorResponse,
            invoke,
        )
    ]


def _guessed(data: bytes) -> str:
    """The content type of data that came without one.

    The message has no member for it and SDKs say nothing, but what they send is JSON, which HTTP
    apps read as such only when told so.
    """
    text = data.rstrip(b"\n")
    if (len(text) > 1 and text[:1] + text[-1:] in _JSON_ENDS) or _SCALAR.fullmatch(
        text
    ) is not None:
        return "application/json"
    return ""


def hosting_methods(hosting: Hosting, read_initial: ReadInitial, *, http_app: bool) -> list[Method]:
    """``SubscribeActorEventsAlpha1``; refused when the app is one that is called over HTTP."""

    async def host(
        requests: AsyncIterator[pb.SubscribeActorEventsRequestAlpha1], context: Context
    ) -> None:
        if http_app:
            raise RpcError(
                GrpcCode.FAILED_PRECONDITION,
                "actor callback streaming requires a gRPC app channel",
            )
        serving = asyncio.ensure_future(_serve(hosting, read_initial, requests, context))
        ended = asyncio.ensure_future(hosting.ended.wait())
        try:
            await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
        finally:
            serving.cancel()
            ended.cancel()
            await asyncio.gather(serving, ended, return_exceptions=True)

    return [
        Method(
            _SERVICE + "SubscribeActorEventsAlpha1",
            "stream_stream",
            pb.SubscribeActorEventsRequestAlpha1,
            pb.SubscribeActorEventsResponseAlpha1,
            host,
        )
    ]


async def _serve(
    hosting: Hosting,
    read_initial: ReadInitial,
    requests: AsyncIterator[pb.SubscribeActorEventsRequestAlpha1],
    context: Context,
) -> None:
    """Host what the first message names until the app ends the stream."""
    settings = read_initial(await _initial(requests))
    app = StreamActorApp(context.send)
    await context.send(
        pb.SubscribeActorEventsResponseAlpha1(
            initial_response=pb.SubscribeActorEventsResponseInitialAlpha1()
        )
    )
    registration = hosting.register(app, settings)
    try:
        async for request in requests:
            app.take(request)
    finally:
        app.close()
        hosting.unregister(registration)


async def _initial(requests: AsyncIterator[pb.SubscribeActorEventsRequestAlpha1]) -> Initial:
    async for request in requests:
        if request.HasField("initial_request"):
            return request.initial_request
        break
    raise RpcError(
        GrpcCode.INVALID_ARGUMENT,
        "first message must be SubscribeActorEventsRequestInitialAlpha1",
    )
