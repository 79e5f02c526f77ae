"""A gRPC application built on the official Python SDK; reports what it is sent."""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

from cloudevents.sdk.event import v1
from dapr.clients.grpc._response import TopicEventResponse
from dapr.ext.grpc import App, BindingRequest, InvokeMethodRequest, InvokeMethodResponse, Rule

app = App()
_LOCK = threading.Lock()
_attempts: dict[str, int] = {}


def report(**seen: Any) -> None:
    with _LOCK:
        sys.stdout.write(json.dumps(seen) + "\n")
        sys.stdout.flush()


def event_fields(event: v1.Event) -> dict[str, Any]:
    return {
        "type": event.EventType(),
        "data": event.Data().decode("latin-1"),
        "content_type": event.ContentType(),
        "source": event.Source(),
    }


@app.method("echo")
def echo(request: InvokeMethodRequest) -> InvokeMethodResponse:
    metadata = dict(request.metadata)
    body = {"echo": json.loads(request.text()), "x-seen": metadata.get("x-seen", "")}
    return InvokeMethodResponse(json.dumps(body), "application/json")


@app.subscribe("pubsub", "orders")
def orders(event: v1.Event) -> None:
    report(route="orders", **event_fields(event))


@app.subscribe("pubsub", "routed", rule=Rule('event.type == "order.rush"', 1))
def rush(event: v1.Event) -> None:
    report(route="rush", **event_fields(event))


@app.subscribe("pubsub", "raw", metadata={"rawPayload": "true"})
def raw(event: v1.Event) -> None:
    report(route="raw", **event_fields(event))


@app.subscribe("pubsub", "bulk")
def bulk(event: v1.Event) -> TopicEventResponse:
    data = event.Data().decode()
    with _LOCK:
        _attempts[data] = attempt = _attempts.get(data, 0) + 1
    report(route="bulk", data=data, attempt=attempt)
    return TopicEventResponse("retry" if data == "b2" and attempt == 1 else "success")


@app.binding("tick")
def tick(request: BindingRequest) -> None:
    report(route="tick", data=request.text())


def health() -> None:
    report(route="health")


app.register_health_check(health)

if __name__ == "__main__":
    app.run(int(os.environ["APP_PORT"]), "127.0.0.1")
