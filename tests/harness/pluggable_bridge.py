"""A pluggable component: serves a component of this project, whichever Init names, with grpcio.

``python pluggable_bridge.py SOCKET SERVICES FLAGS``: names with commas between them. Metadata
``inner`` is the type of what is served; the rest is its own. One instance per
``x-component-instance``, as Dapr's SDKs have it. Flags: ``v1`` serves that reflection besides
``v1alpha``, ``one-by-one`` has no bulk methods.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import orjson
from google.rpc import error_details_pb2, status_pb2

from dapr_common.wire.dapr.proto.components.v1 import bindings_pb2 as bindings
from dapr_common.wire.dapr.proto.components.v1 import common_pb2 as common
from dapr_common.wire.dapr.proto.components.v1 import pubsub_pb2 as pubsub
from dapr_common.wire.dapr.proto.components.v1 import secretstore_pb2 as secrets
from dapr_common.wire.dapr.proto.components.v1 import state_pb2 as state
from dapr_common.wire.grpc.reflection.v1 import reflection_pb2 as reflection_v1
from dapr_common.wire.grpc.reflection.v1alpha import reflection_pb2 as reflection_v1alpha
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import Event, InvokeRequest
from dapr_sidecar.components.metadata import decode_settings
from dapr_sidecar.components.pubsub.base import BulkPublishEntry, Message, PublishRequest
from dapr_sidecar.components.registry import component_class
from dapr_sidecar.components.state.base import (
    BulkError,
    DeleteRequest,
    EtagError,
    GetRequest,
    Json,
    SetRequest,
)

_PACKAGE = "dapr.proto.components.v1."
_LARGEST = 64 << 20
_CONCURRENCY = {1: "first-write", 2: "last-write"}
_CONSISTENCY = {1: "eventual", 2: "strong"}
Handler = Callable[..., Any]


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class TeapotError(Exception):
    """What the API is to answer is the component's choice."""


class RefusedError(Exception):
    """A delivery that the sidecar did not take, or will not hear of."""


class Bridge:
    """The instances, and the methods that lead to them."""

    def __init__(self, flags: set[str]) -> None:
        self.flags = flags
        self.instances: dict[tuple[str, str], Any] = {}
        self.json_values: set[str] = set()
        """Instances whose store is to see values as JSON, when they are, to query them."""

    def instance(self, context: Any, kind: str) -> Any:
        return self.instances[_name(context), kind]

    async def init(self, request: Any, context: Any, kind: str) -> None:
        properties = dict(request.metadata.properties)
        name = _name(context)
        say(f"asked {name}")
        inner = component_class(properties["inner"], properties.get("innerVersion", "v1"))
        made = inner(
            decode_settings(inner.settings, properties),
            ComponentContext(name, "app", "", {k.lower(): v for k, v in properties.items()}),
        )
        if properties.get("jsonValues"):
            self.json_values.add(name)
        before = self.instances.get((name, kind))
        await made.open()
        self.instances[name, kind] = made
        if before is not None:
            await before.close()
        say(f"init {name} {orjson.dumps(properties).decode()}")

    async def ping(self, request: Any, context: Any, kind: str) -> Any:
        await self.instance(context, kind).ping()
        return common.PingResponse()

    # --- state ------------------------------------------------------------------------------

    async def state_features(self, request: Any, context: Any, kind: str) -> Any:
        order = self.instance(context, kind).feature_order
        return common.FeaturesResponse(features=[one.value for one in order])

    async def state_get(self, request: Any, context: Any, kind: str) -> Any:
        if request.key.endswith("teapot"):
            raise TeapotError
        found = await self.instance(context, kind).get(_get(request))
        return state.GetResponse(
            data=found.data or b"", etag=_etag(found.etag), metadata=dict(found.metadata)
        )

    async def state_set(self, request: Any, context: Any, kind: str) -> Any:
        asked = _set(request)
        if _name(context) in self.json_values:
            with contextlib.suppress(ValueError):
                asked.value = Json(orjson.loads(request.value))
        await self.instance(context, kind).set(asked)
        return state.SetResponse()

    async def state_delete(self, request: Any, context: Any, kind: str) -> Any:
        await self.instance(context, kind).delete(_delete(request))
        return state.DeleteResponse()

    async def state_bulk_get(self, request: Any, context: Any, kind: str) -> Any:
        self._need_bulk()
        found = await self.instance(context, kind).bulk_get(
            [_get(item) for item in request.items], request.options.parallelism
        )
        items = [
            state.BulkStateItem(
                key=one.key,
                data=one.data or b"",
                etag=_etag(one.etag),
                error=one.error,
                metadata=dict(one.metadata),
            )
            for one in reversed(found)  # no order is promised
        ]
        return state.BulkGetResponse(items=items)

    async def state_bulk_set(self, request: Any, context: Any, kind: str) -> Any:
        self._need_bulk()
        await self.instance(context, kind).bulk_set([_set(item) for item in request.items])
        return state.BulkSetResponse()

    async def state_bulk_delete(self, request: Any, context: Any, kind: str) -> Any:
        self._need_bulk()
        await self.instance(context, kind).bulk_delete([_delete(item) for item in request.items])
        return state.BulkDeleteResponse()

    def _need_bulk(self) -> None:
        if "one-by-one" in self.flags:
            raise NotImplementedError

    async def state_transact(self, request: Any, context: Any, kind: str) -> Any:
        operations = [
            _set(one.set) if one.WhichOneof("request") == "set" else _delete(one.delete)
            for one in request.operations
        ]
        await self.instance(context, kind).transact(operations, dict(request.metadata))
        return state.TransactionalStateResponse()

    async def state_max_size(self, request: Any, context: Any, kind: str) -> Any:
        return state.MultiMaxSizeResponse(max_size=100)

    async def state_query(self, request: Any, context: Any, kind: str) -> Any:
        asked = request.query
        body = {
            "filter": {name: orjson.loads(value.value) for name, value in asked.filter.items()},
            "sort": [
                {"key": one.key, "order": "DESC" if one.order else "ASC"} for one in asked.sort
            ],
            "page": {"limit": asked.pagination.limit, "token": asked.pagination.token},
        }
        found = await self.instance(context, kind).query(body, dict(request.metadata))
        items = [
            state.QueryItem(key=one.key, data=one.data, etag=_etag(one.etag)) for one in found.items
        ]
        return state.QueryResponse(items=items, token=found.token, metadata=dict(found.metadata))

    # --- pub/sub ----------------------------------------------------------------------------

    async def pubsub_features(self, request: Any, context: Any, kind: str) -> Any:
        return common.FeaturesResponse(features=["BULK_PUBSUB", "no such feature"])

    async def pubsub_publish(self, request: Any, context: Any, kind: str) -> Any:
        await self.instance(context, kind).publish(
            PublishRequest(
                request.topic, request.data, dict(request.metadata), request.content_type
            )
        )
        return pubsub.PublishResponse()

    async def pubsub_bulk_publish(self, request: Any, context: Any, kind: str) -> Any:
        entries = [
            BulkPublishEntry(one.entry_id, one.event, one.content_type, dict(one.metadata))
            for one in request.entries
        ]
        inner = self.instance(context, kind)
        failed = await inner.bulk_publish(request.topic, entries, dict(request.metadata))
        rows = [
            pubsub.BulkPublishResponseFailedEntry(entry_id=name, error=str(error))
            for name, error in failed.items()
        ]
        return pubsub.BulkPublishResponse(failed_entries=rows)

    async def pubsub_pull(
        self, requests: AsyncIterator[Any], context: Any, kind: str
    ) -> AsyncIterator[Any]:
        inner = self.instance(context, kind)
        first = await anext(aiter(requests))
        stream = Deliveries()

        async def handle(message: Message) -> None:
            answer = await stream.deliver(
                lambda name: pubsub.PullMessagesResponse(
                    id=name,
                    data=message.data,
                    topic_name=message.topic,
                    metadata=dict(message.metadata or {}),
                    content_type=message.content_type or "",
                )
            )
            if answer.HasField("ack_error"):
                raise RefusedError(answer.ack_error.message)

        subscription = await inner.subscribe(first.topic.name, dict(first.topic.metadata), handle)
        say(f"subscribed {_name(context)} {first.topic.name}")
        try:
            async for message in stream.messages(requests, lambda ack: ack.ack_message_id):
                yield message
        finally:
            stream.end()
            await asyncio.shield(subscription.close())

    # --- bindings ---------------------------------------------------------------------------

    async def output_operations(self, request: Any, context: Any, kind: str) -> Any:
        operations = self.instance(context, kind).operations
        return bindings.ListOperationsResponse(operations=operations)

    async def output_invoke(self, request: Any, context: Any, kind: str) -> Any:
        asked = InvokeRequest(request.operation, request.data, dict(request.metadata))
        try:
            found = await self.instance(context, kind).invoke(asked)
        except FileNotFoundError:
            found = None
        if found is None:
            return bindings.InvokeResponse()
        return bindings.InvokeResponse(data=found.data, metadata=dict(found.metadata))

    async def input_read(
        self, requests: AsyncIterator[Any], context: Any, kind: str
    ) -> AsyncIterator[Any]:
        inner = self.instance(context, kind)
        stream = Deliveries()

        async def handle(event: Event) -> bytes | None:
            answer = await stream.deliver(
                lambda name: bindings.ReadResponse(
                    message_id=name, data=event.data, metadata=dict(event.metadata)
                )
            )
            said = answer.response_data.decode()
            say(f"answered {said} {answer.response_error.message}")
            if answer.HasField("response_error"):
                raise RefusedError(answer.response_error.message)
            return bytes(answer.response_data)

        await inner.start(handle)
        say(f"reading {_name(context)}")
        try:
            async for event in stream.messages(requests, lambda ack: ack.message_id):
                yield event
        finally:
            stream.end()
            await asyncio.shield(inner.stop())

    # --- secrets ----------------------------------------------------------------------------

    async def secrets_features(self, request: Any, context: Any, kind: str) -> Any:
        return common.FeaturesResponse(features=self.instance(context, kind).capabilities())

    async def secrets_get(self, request: Any, context: Any, kind: str) -> Any:
        inner = self.instance(context, kind)
        found = await inner.get(request.key, dict(request.metadata))
        return secrets.GetSecretResponse(data=found)

    async def secrets_bulk_get(self, request: Any, context: Any, kind: str) -> Any:
        found = await self.instance(context, kind).bulk_get(dict(request.metadata))
        data = {name: secrets.SecretResponse(secrets=values) for name, values in found.items()}
        return secrets.BulkGetSecretResponse(data=data)


class Deliveries:
    """Messages on their way to the sidecar on one stream, and those it has not answered."""

    def __init__(self) -> None:
        self._out: asyncio.Queue[Any] = asyncio.Queue()
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._number = 0
        self._ended = False

    async def deliver(self, make: Callable[[str], Any]) -> Any:
        """The sidecar's answer. Raises ``RefusedError`` when there will be none."""
        if self._ended:
            raise RefusedError
        self._number += 1
        name = str(self._number)
        self._waiting[name] = asyncio.get_running_loop().create_future()
        self._out.put_nowait(make(name))
        try:
            return await self._waiting[name]
        finally:
            self._waiting.pop(name, None)

    async def messages(
        self, requests: AsyncIterator[Any], name_of: Callable[[Any], str]
    ) -> AsyncIterator[Any]:
        """What goes out, until the sidecar says that it reads no more."""

        async def answers() -> None:
            async for answer in requests:
                waiting = self._waiting.get(name_of(answer))
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
            self._out.put_nowait(None)

        reading = asyncio.ensure_future(answers())
        try:
            while (message := await self._out.get()) is not None:
                yield message
        finally:
            reading.cancel()

    def end(self) -> None:
        """What was not answered never will be."""
        self._ended = True
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(RefusedError())


# --- messages ---------------------------------------------------------------------------------


def _name(context: Any) -> str:
    return str(dict(context.invocation_metadata()).get("x-component-instance", ""))


def _etag(etag: str | None) -> Any:
    return None if etag is None else state.Etag(value=etag)


def _given(request: Any) -> str | None:
    return request.etag.value if request.HasField("etag") else None


def _get(request: Any) -> GetRequest:
    consistency = _CONSISTENCY.get(request.consistency, "")
    return GetRequest(request.key, dict(request.metadata), consistency)


def _set(request: Any) -> SetRequest:
    return SetRequest(
        request.key,
        request.value,
        _given(request),
        dict(request.metadata),
        _CONCURRENCY.get(request.options.concurrency, ""),
        _CONSISTENCY.get(request.options.consistency, ""),
    )


def _delete(request: Any) -> DeleteRequest:
    return DeleteRequest(
        request.key,
        _given(request),
        dict(request.metadata),
        _CONCURRENCY.get(request.options.concurrency, ""),
        _CONSISTENCY.get(request.options.consistency, ""),
    )


# --- the server -------------------------------------------------------------------------------


async def _abort(context: Any, code: Any, text: str, detail: Any) -> None:
    status = status_pb2.Status(code=code.value[0], message=text)
    status.details.add().Pack(detail)
    await context.abort(code, text, (("grpc-status-details-bin", status.SerializeToString()),))


async def _fail(context: Any, error: Exception) -> None:
    """End the call with the status that Dapr's components give for such an error."""
    if isinstance(error, BulkError):
        error = next((e for e in error.errors.values() if isinstance(e, EtagError)), error)
    if isinstance(error, EtagError):
        invalid = error.invalid
        code = grpc.StatusCode.INVALID_ARGUMENT if invalid else grpc.StatusCode.FAILED_PRECONDITION
        detail = error_details_pb2.BadRequest()
        detail.field_violations.add(field="etag", description=str(error))
        await _abort(context, code, str(error), detail)
    if isinstance(error, TeapotError):
        words = {"kit_error": "true", "http_code": "418", "tag": "ERR_TEAPOT", "spout": "short"}
        info = error_details_pb2.ErrorInfo(reason="TEAPOT", domain="kitchen", metadata=words)
        await _abort(context, grpc.StatusCode.ABORTED, "no coffee here", info)
    codes: tuple[tuple[type[Exception], Any], ...] = (
        (NotImplementedError, grpc.StatusCode.UNIMPLEMENTED),
        (ValueError, grpc.StatusCode.INVALID_ARGUMENT),
        (LookupError, grpc.StatusCode.NOT_FOUND),
    )
    code = next((c for kind, c in codes if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
    await context.abort(code, str(error))


def _unary(method: Callable[..., Awaitable[Any]], kind: str, request: Any) -> Any:
    async def handle(message: Any, context: Any) -> Any:
        try:
            return await method(message, context, kind)
        except Exception as error:  # noqa: BLE001 - every failure is a status
            return await _fail(context, error)

    return grpc.unary_unary_rpc_method_handler(
        handle, request.FromString, lambda answer: answer.SerializeToString()
    )


def _stream(method: Callable[..., AsyncIterator[Any]], kind: str, request: Any) -> Any:
    async def handle(messages: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for answer in method(messages, context, kind):
            yield answer

    return grpc.stream_stream_rpc_method_handler(
        handle, request.FromString, lambda answer: answer.SerializeToString()
    )


def services(bridge: Bridge) -> dict[str, dict[str, Any]]:
    """Every service there is, by name."""

    def common_methods(init_request: Any, init_response: Any, kind: str) -> dict[str, Any]:
        async def init(request: Any, context: Any, kind: str) -> Any:
            await bridge.init(request, context, kind)
            return init_response()

        return {
            "Init": _unary(init, kind, init_request),
            "Ping": _unary(bridge.ping, kind, common.PingRequest),
        }

    return {
        "StateStore": {
            **common_methods(state.InitRequest, state.InitResponse, "state"),
            "Features": _unary(bridge.state_features, "state", common.FeaturesRequest),
            "Get": _unary(bridge.state_get, "state", state.GetRequest),
            "Set": _unary(bridge.state_set, "state", state.SetRequest),
            "Delete": _unary(bridge.state_delete, "state", state.DeleteRequest),
            "BulkGet": _unary(bridge.state_bulk_get, "state", state.BulkGetRequest),
            "BulkSet": _unary(bridge.state_bulk_set, "state", state.BulkSetRequest),
            "BulkDelete": _unary(bridge.state_bulk_delete, "state", state.BulkDeleteRequest),
        },
        "TransactionalStateStore": {
            "Transact": _unary(bridge.state_transact, "state", state.TransactionalStateRequest)
        },
        "TransactionalStoreMultiMaxSize": {
            "MultiMaxSize": _unary(bridge.state_max_size, "state", state.MultiMaxSizeRequest)
        },
        "QueriableStateStore": {"Query": _unary(bridge.state_query, "state", state.QueryRequest)},
        "PubSub": {
            **common_methods(pubsub.PubSubInitRequest, pubsub.PubSubInitResponse, "pubsub"),
            "Features": _unary(bridge.pubsub_features, "pubsub", common.FeaturesRequest),
            "Publish": _unary(bridge.pubsub_publish, "pubsub", pubsub.PublishRequest),
            "BulkPublish": _unary(bridge.pubsub_bulk_publish, "pubsub", pubsub.BulkPublishRequest),
            "PullMessages": _stream(bridge.pubsub_pull, "pubsub", pubsub.PullMessagesRequest),
        },
        "InputBinding": {
            **common_methods(
                bindings.InputBindingInitRequest, bindings.InputBindingInitResponse, "input"
            ),
            "Read": _stream(bridge.input_read, "input", bindings.ReadRequest),
        },
        "OutputBinding": {
            **common_methods(
                bindings.OutputBindingInitRequest, bindings.OutputBindingInitResponse, "output"
            ),
            "ListOperations": _unary(
                bridge.output_operations, "output", bindings.ListOperationsRequest
            ),
            "Invoke": _unary(bridge.output_invoke, "output", bindings.InvokeRequest),
        },
        "SecretStore": {
            **common_methods(
                secrets.SecretStoreInitRequest, secrets.SecretStoreInitResponse, "secrets"
            ),
            "Features": _unary(bridge.secrets_features, "secrets", common.FeaturesRequest),
            "Get": _unary(bridge.secrets_get, "secrets", secrets.GetSecretRequest),
            "BulkGet": _unary(bridge.secrets_bulk_get, "secrets", secrets.BulkGetSecretRequest),
        },
    }


def reflection(names: list[str], types: Any) -> Any:
    """A handler that lists these services and refuses everything else."""

    async def answer(requests: AsyncIterator[Any], context: Any, kind: str) -> AsyncIterator[Any]:
        async for request in requests:
            found = types.ServerReflectionResponse(original_request=request)
            if request.WhichOneof("message_request") == "list_services":
                for name in names:
                    found.list_services_response.service.add(name=name)
            else:
                found.error_response.error_message = "not here"
            yield found

    return {"ServerReflectionInfo": _stream(answer, "", types.ServerReflectionRequest)}


async def serve(socket: str, wanted: list[str], flags: set[str]) -> None:
    """Until SIGTERM."""
    Path(socket).unlink(missing_ok=True)
    limits = (("grpc.max_receive_message_length", _LARGEST), ("grpc.max_send_message_length", -1))
    server = grpc.aio.server(options=limits)
    offered = services(Bridge(flags))
    names = [_PACKAGE + name for name in wanted]
    handlers = {_PACKAGE + name: offered[name] for name in wanted}
    handlers["grpc.reflection.v1alpha.ServerReflection"] = reflection(names, reflection_v1alpha)
    if "v1" in flags:
        handlers["grpc.reflection.v1.ServerReflection"] = reflection(names, reflection_v1)
    for name, methods in handlers.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    say("serving")
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await server.stop(0.2)


if __name__ == "__main__":
    asyncio.run(
        serve(
            sys.argv[1], sys.argv[2].split(","), set(sys.argv[3].split(",") if sys.argv[3:] else ())
        )
    )
