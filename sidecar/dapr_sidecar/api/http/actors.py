"""HTTP routes of actor methods."""

from __future__ import annotations

from dapr_common.http.messages import Request, Response
from dapr_sidecar.api.http.bodies import read_whole
from dapr_sidecar.api.http.responses import JSON_TYPE
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.blocks.actors.base import ActorAnswer, ActorCall, ActorRef
from dapr_sidecar.blocks.actors.block import ActorBlock
from dapr_sidecar.messaging.headers import response_headers

GROUP = "v1/actors"
_NOT_METADATA = frozenset({b"host", b"transfer-encoding"})


def routes(block: ActorBlock) -> list[Route]:
    """The method route; state, timers and reminders are routes of their own."""

    async def invoke(request: Request, actor_type: str, actor_id: str, method: str) -> Response:
        content_type = request.header(b"content-type")
        call = ActorCall(
            ActorRef(actor_type, actor_id),
            method,
            request.body if request.body is not None else await read_whole(request),
            "" if content_type is None else content_type.decode("utf-8", "replace"),
            request.query.decode("utf-8", "surrogateescape"),
            [pair for pair in request.headers if pair[0] not in _NOT_METADATA],
        )
        return _response(await block.invoke(call))

    return [
        Route(
            ("GET", "POST", "PUT", "DELETE"),
            "/v1.0/actors/{type}/{id}/method/{method}",
            GROUP,
            "InvokeActor",
            invoke,
        )
    ]


def _response(answer: ActorAnswer) -> Response:
    headers, dated = response_headers(answer.headers)
    if answer.content_type:
        headers.append((b"Content-Type", answer.content_type.encode("utf-8", "replace")))
    else:
        headers.append(JSON_TYPE)  # Dapr's word for an answer whose type the app did not say
    return Response(answer.status, headers, answer.body, dated=dated)
