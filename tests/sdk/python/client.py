"""A client built on the official Python SDK; prints what it saw."""

from __future__ import annotations

import asyncio
import os
import queue
from typing import Any

from dapr.aio.clients import DaprClient as AsyncDaprClient
from dapr.clients import DaprClient
from dapr.clients.exceptions import DaprGrpcError
from dapr.clients.grpc._request import TransactionalStateOperation, TransactionOperationType
from dapr.clients.grpc._response import TopicEventResponse
from dapr.clients.grpc._state import Concurrency, Consistency, StateItem, StateOptions
from dapr.clients.grpc.subscription import Subscription
from grpc import RpcError
from sections import run, section

_start = Subscription.start


def start(self: Subscription) -> None:
    """Start a stream that is marked as live before gRPC's thread looks at the mark.

    The SDK marks it afterwards; when the thread is faster it closes its half of the stream.
    """
    self._set_stream_active()
    _start(self)


Subscription.start = start  # type: ignore[method-assign]
STORE, PUBSUB, CONFIG = "statestore", "pubsub", "configstore"
SECONDS = 30


def error_of(call: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
    """How the SDK presents a failed call."""
    try:
        call(*arguments, **options)
    except DaprGrpcError as error:
        details = error.status_details()
        return {
            "kind": "DaprGrpcError",
            "code": error.code().name,
            "message": error.details(),
            "error_code": error.error_code(),
            "error_info": details.error_info,
            "resource_info": details.resource_info,
        }
    except RpcError as error:
        return {"kind": "RpcError", "code": error.code().name, "message": error.details()}
    return {"kind": "none"}


@section
def state(client: DaprClient) -> Any:
    client.save_state(STORE, "k1", '{"a": 1}', state_metadata={"contentType": "application/json"})
    found = client.get_state(STORE, "k1")
    client.save_state(STORE, "k2", b"\x00\xffraw")
    binary = client.get_state(STORE, "k2").data
    client.delete_state(STORE, "k1")
    return {
        "json": found.json(),
        "has_etag": bool(found.etag),
        "binary": list(binary),
        "deleted": client.get_state(STORE, "k1").data.decode(),
        "missing": client.get_state(STORE, "never").data.decode(),
    }


@section
def state_etag(client: DaprClient) -> Any:
    first_write = StateOptions(Consistency.strong, Concurrency.first_write)
    client.save_state(STORE, "e", "one")
    etag = client.get_state(STORE, "e").etag
    client.save_state(STORE, "e", "two", etag=etag, options=first_write)
    stale = error_of(client.save_state, STORE, "e", "three", etag=etag, options=first_write)
    stale_delete = error_of(client.delete_state, STORE, "e", etag=etag, options=first_write)
    return {"kept": client.get_state(STORE, "e").text(), "save": stale, "delete": stale_delete}


@section
def state_bulk(client: DaprClient) -> Any:
    client.save_bulk_state(STORE, [StateItem("b1", "v1"), StateItem("b2", "v2")])
    items = client.get_bulk_state(STORE, ["b1", "b2", "b3"], parallelism=2).items
    return {item.key: [item.text(), bool(item.etag), item.error] for item in items}


@section
def state_transaction(client: DaprClient) -> Any:
    client.save_state(STORE, "t1", "old")
    client.execute_state_transaction(
        STORE,
        [
            TransactionalStateOperation("t1", operation_type=TransactionOperationType.delete),
            TransactionalStateOperation("t2", data="new"),
        ],
    )
    return [client.get_state(STORE, key).text() for key in ("t1", "t2")]


@section
def publish(client: DaprClient) -> Any:
    client.publish_event(PUBSUB, "orders", '{"id": 1}', data_content_type="application/json")
    client.publish_event(
        PUBSUB,
        "routed",
        '{"id": 2, "rush": true}',
        publish_metadata={"cloudevent.type": "order.rush"},
        data_content_type="application/json",
    )
    client.publish_event(
        PUBSUB, "raw", b"\x01\x02", publish_metadata={"rawPayload": "true"},
        data_content_type="application/octet-stream",
    )  # fmt: skip
    failed = client.publish_events(PUBSUB, "bulk", ["b1", "b2", "b3"]).failed_entries
    return {"failed": [entry.error for entry in failed]}


@section
def subscribe_stream(client: DaprClient) -> Any:
    subscription = client.subscribe(PUBSUB, "streamed")
    client.publish_event(PUBSUB, "streamed", '{"n": 1}', data_content_type="application/json")
    client.publish_event(PUBSUB, "streamed", "text", data_content_type="text/plain")
    seen = []
    for message in subscription:
        seen.append([message.data(), message.type(), message.topic(), message.pubsub_name()])
        subscription.respond_success(message)
        if len(seen) == 2:
            break
    subscription.close()
    return seen


@section
def subscribe_handler(client: DaprClient) -> Any:
    events: queue.Queue[Any] = queue.Queue()
    attempts: list[Any] = []

    def handle(message: Any) -> TopicEventResponse:
        attempts.append(message.data())
        if message.data() == "first":
            return TopicEventResponse("drop")
        events.put([message.data(), message.extensions().get("pubsubname", "")])
        return TopicEventResponse("success")

    close = client.subscribe_with_handler(PUBSUB, "handled", handle, dead_letter_topic="dead")
    dead = client.subscribe(PUBSUB, "dead")
    client.publish_event(PUBSUB, "handled", "first", data_content_type="text/plain")
    client.publish_event(PUBSUB, "handled", "second", data_content_type="text/plain")
    second = events.get(timeout=SECONDS)
    letter = next(dead)
    dead.respond_success(letter)
    close()
    dead.close()
    return {"second": second[0], "dead": letter.data(), "attempts": sorted(set(attempts))}


@section
def invoke_grpc(client: DaprClient) -> Any:
    os.environ["DAPR_API_METHOD_INVOCATION_PROTOCOL"] = "grpc"
    grpc_client = DaprClient()
    grpc_client.invocation_client = None
    app = os.environ["APP_ID"]
    answer = grpc_client.invoke_method(
        app, "echo", b'{"x": 1}', content_type="application/json", metadata=(("x-seen", "yes"),)
    )
    http_app = os.environ["HTTP_APP_ID"]
    http_answer = grpc_client.invoke_method(
        http_app, "echo", b"over grpc", content_type="text/plain", http_verb="POST",
        http_querystring=(("q", "1"),),
    )  # fmt: skip
    seen = {
        "json": answer.json(),
        "content_type": answer.content_type,
        "to_http_app": http_answer.text(),
        "unknown_method": error_of(grpc_client.invoke_method, app, "no-such", b""),
        "http_404": error_of(grpc_client.invoke_method, http_app, "none", b"", http_verb="GET"),
        "unknown_app": error_of(grpc_client.invoke_method, "no-such-app", "m", b""),
    }
    grpc_client.close()
    return seen


@section
def invoke_http(client: DaprClient) -> Any:
    app = os.environ["HTTP_APP_ID"]
    answer = client.invoke_method(
        app, "echo", '{"y": 2}', content_type="application/json", http_verb="PUT",
        http_querystring=(("a", "b c"),), metadata=(("x-seen", "yes"),),
    )  # fmt: skip
    try:
        client.invoke_method(app, "none", http_verb="GET")
        missing: Any = None
    except Exception as error:  # noqa: BLE001 - its kind is what is looked at
        missing = [type(error).__name__, getattr(error, "status_code", None)]
    return {
        "json": answer.json(),
        "status": answer.status_code,
        "content_type": answer.content_type,
        "header": answer.headers.get("X-From-App"),
        "missing": missing,
    }


@section
def secret(client: DaprClient) -> Any:
    return {
        "one": client.get_secret("secrets", "plain").secret,
        "nested": client.get_secret("secrets", "db:password").secret,
        "bulk": client.get_bulk_secret("secrets").secrets,
        "missing": error_of(client.get_secret, "secrets", "nope"),
        "no_store": error_of(client.get_secret, "nowhere", "nope"),
    }


@section
def configuration(client: DaprClient) -> Any:
    changes: queue.Queue[Any] = queue.Queue()
    first = client.get_configuration(CONFIG, ["color"]).items["color"]
    everything = sorted(client.get_configuration(CONFIG, []).items)
    subscribed = client.subscribe_configuration(
        CONFIG, ["color"], lambda key, response: changes.put([key, response])
    )
    client.invoke_binding("redis", "create", "blue||2", {"key": "color"})
    subscription_id, change = changes.get(timeout=SECONDS)
    item = change.items["color"]
    return {
        "first": [first.value, first.version],
        "everything": everything,
        "same_id": subscription_id == subscribed,
        "change": [item.value, item.version],
        "unsubscribed": client.unsubscribe_configuration(CONFIG, subscribed),
        "again": client.unsubscribe_configuration(CONFIG, subscribed),
    }


@section
def lock(client: DaprClient) -> Any:
    taken = client.try_lock("lockstore", "door", "me", 60).success
    refused = client.try_lock("lockstore", "door", "you", 60).success
    statuses = [
        client.unlock("lockstore", "door", owner).status.name for owner in ("you", "me", "me")
    ]
    return {"taken": taken, "refused": refused, "unlock": statuses}


@section
def binding(client: DaprClient) -> Any:
    client.invoke_binding("redis", "create", "stored", {"key": "bound"})
    answer = client.invoke_binding("redis", "get", "", {"key": "bound"})
    return {"text": answer.text(), "bad": error_of(client.invoke_binding, "redis", "dance")}


@section
def metadata(client: DaprClient) -> Any:
    client.set_metadata("made-by", "python")
    found = client.get_metadata()
    return {
        "id": found.application_id,
        "extended": found.extended_metadata,
        "components": sorted([c.name, c.type, c.version] for c in found.registered_components),
    }


@section
def asyncio_client(_: DaprClient) -> Any:
    async def use() -> Any:
        async with AsyncDaprClient() as client:
            await client.save_state(STORE, "a1", "awaited")
            found = (await client.get_state(STORE, "a1")).text()
            subscription = await client.subscribe(PUBSUB, "awaited")
            await client.publish_event(PUBSUB, "awaited", "event", data_content_type="text/plain")
            message = await subscription.next_message()
            await subscription.respond_success(message)
            await subscription.close()
            return [found, message.data()]

    return asyncio.run(asyncio.wait_for(use(), SECONDS))


@section
def errors(client: DaprClient) -> Any:
    return {
        "publish": error_of(client.publish_event, "nowhere", "t", "x"),
        "state": error_of(client.save_state, "nowhere", "k", "v"),
        "state_key": error_of(client.save_state, STORE, "a||b", "v"),
        "configuration": error_of(client.get_configuration, "nowhere", ["k"]),
    }


if __name__ == "__main__":
    with DaprClient() as dapr_client:
        run(dapr_client)
