"""Actors of an HTTP app: ``/actors/<type>/<id>/…`` through the app channel and its middleware."""

from __future__ import annotations

from collections.abc import Sequence

from dapr_common.grpc.errors import RpcError
from dapr_common.http.messages import Header
from dapr_sidecar.blocks.actors import errors, headers
from dapr_sidecar.blocks.actors.base import ActorAnswer, ActorCall, ActorRef, Callback
from dapr_sidecar.blocks.actors.callback_json import callback_json
from dapr_sidecar.blocks.invocation.app import AppCaller
from dapr_sidecar.messaging.call import Answer, Invocation

_JSON = "application/json"


class HttpActorApp:
    """Implements ``ActorApp``."""

    def __init__(self, caller: AppCaller, app_id: str, most_kept: int | None) -> None:
        self._caller = caller
        self._app_id = app_id
        self._most_kept = most_kept

    async def invoke(self, call: ActorCall) -> ActorAnswer:
        """Call a method; always PUT. Raises ``DaprError``."""
        ref = call.ref
        answer, body = await self._call(
            f"actors/{ref.type}/{ref.id}/method/{call.method}",
            call.body,
            call.content_type,
            query=call.query,
            metadata=call.headers,
            from_grpc=call.from_grpc,
        )
        if headers.first(answer.headers, headers.APP_ERROR) is not None:
            return ActorAnswer(answer.status, answer.headers, answer.content_type, body, True)
        _check(answer, body, ref, call.method)
        return ActorAnswer(answer.status, answer.headers, answer.content_type, body)

    async def fire(self, callback: Callback) -> bool:
        """Deliver a reminder or timer. Raises ``DaprError``."""
        ref = callback.ref
        kind = "remind" if callback.kind == "reminder" else "timer"
        method = f"{kind}/{callback.name}"
        answer, body = await self._call(
            f"actors/{ref.type}/{ref.id}/method/{method}", callback_json(callback), _JSON
        )
        _check(answer, body, ref, method)
        return headers.says_yes(answer.headers, headers.REMINDER_CANCEL)

    async def deactivate(self, ref: ActorRef) -> None:
        """Tell the app that the actor's object can go. Raises ``DaprError``."""
        path = f"actors/{ref.type}/{ref.id}"
        answer, body = await self._call(path, b"", "application/x-protobuf", verb="DELETE")
        if answer.status != 200:
            text = body.decode("utf-8", "replace")
            raise errors.invoke_failed(f"error from actor service: ({answer.status}) {text}")

    async def _call(
        self,
        path: str,
        body: bytes,
        content_type: str,
        *,
        verb: str = "PUT",
        query: str = "",
        metadata: Sequence[Header] = (),
        from_grpc: bool = False,
    ) -> tuple[Answer, bytes]:
        call = Invocation(
            self._app_id,
            path,
            verb=verb,
            query=query,
            metadata=metadata,
            from_grpc=from_grpc,
            content_type=content_type,
            body=body,
            content_length=len(body),
        )
        try:
            answer = await self._caller.call(call)
            return answer, await answer.read(self._most_kept)
        except RpcError as error:
            raise errors.invoke_failed(error.message) from error
        except OSError as error:
            raise errors.invoke_failed(error) from error


def _check(answer: Answer, body: bytes, ref: ActorRef, method: str) -> None:
    """Anything but 200 is an error."""
    if answer.status == 200:
        return
    if answer.status == 404:
        raise errors.MethodNotFoundError(ref, method)
    text = body.decode("utf-8", "replace")
    raise errors.invoke_failed(f"error from actor service: ({answer.status}) {text}")
