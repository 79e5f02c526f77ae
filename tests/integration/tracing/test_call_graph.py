"""What a real collector knows of calls through real sidecars: who called whom, and how."""

from __future__ import annotations

import grpc
import pytest
from integration.tracing.collectors import Collector, Shown, Zipkin
from integration.tracing.shop import API, Shop, new_trace_id

from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import invoke_pb2, pubsub_pb2

pytestmark = pytest.mark.slow
CALLER = "b7ad6b7169203331"
ORDER = f"""\
shop client CallLocal/stock/order
  stock server CallLocal/stock/order
    stock client {API}InvokeBinding
    stock client {API}PublishEvent
      shop client pubsub/orders
        shop client /v1.0/state/store/order
    stock client {API}SaveState
    stock client CallActor/Cart/add
      shop server CallActor/Cart/add
    stock client CallLocal/shop/ship
      shop server CallLocal/shop/ship
"""


def tree(spans: list[Shown], parent: str = CALLER, depth: int = 0) -> str:
    """The spans below one, a line each, siblings by service and name."""
    lines = ""
    mine = [span for span in spans if span.parent_id == parent]
    for span in sorted(mine, key=lambda span: (span.service, span.kind, span.name)):
        lines += f"{'  ' * depth}{span.service} {span.kind} {span.name}\n"
        lines += tree(spans, span.span_id, depth + 1)
    return lines


def named(spans: list[Shown], service: str, kind: str, name: str) -> Shown:
    """The only such span, its name in any case."""
    (found,) = [
        span
        for span in spans
        if (span.service, span.kind, span.name.lower()) == (service, kind, name.lower())
    ]
    return found


def spelled(collector: Collector, text: str) -> str:
    return text.lower() if collector.lower_case else text


def tags_of(span: Shown) -> dict[str, str]:
    """Its attributes but for the client's address, which is checked."""
    tags = dict(span.tags)
    if "server.address" in tags:
        assert tags.pop("server.address") == "127.0.0.1"
        assert 0 < int(tags.pop("server.port")) < 65536
    return tags


@pytest.fixture(scope="module")
def order(shop: Shop, collector: Collector) -> list[Shown]:
    """The spans of one call that leads to all the others."""
    trace_id = new_trace_id()
    path = "/v1.0/invoke/stock/method/order?q=1"
    answer = shop.call("POST", path, b"1", f"00-{trace_id}-{CALLER}-01", dapr_note="n")
    assert answer.status == 200, answer.body
    spans = collector.wait(trace_id, ORDER.count("\n"))
    first = named(spans, "shop", "client", "CallLocal/stock/order")
    callee = named(spans, "stock", "server", "CallLocal/stock/order")
    assert answer.headers["traceparent"] == f"00-{trace_id}-{first.span_id}-01"
    assert shop.traceparents["order"] == f"00-{trace_id}-{callee.span_id}-01"
    for path, kind, name in (
        ("/orders", "client", "pubsub/orders"),
        ("/ship", "server", "CallLocal/shop/ship"),
        ("/actors/Cart/7/method/add", "server", "CallActor/Cart/add"),
    ):
        given = shop.wait_traceparent(path)
        assert given == f"00-{trace_id}-{named(spans, 'shop', kind, name).span_id}-01", path
    return spans


def test_the_call_graph(collector: Collector, order: list[Shown]) -> None:
    assert tree(order) == spelled(collector, ORDER)
    assert [span.error for span in order] == [""] * len(order)


def test_attributes_over_http(order: list[Shown]) -> None:
    path = "/v1.0/invoke/stock/method/order"
    assert tags_of(named(order, "shop", "client", "CallLocal/stock/order")) == {
        "dapr.api": f"POST {path}",
        "dapr.protocol": "http",
        "dapr.status_code": "200",
        "http.request.method": "POST",
        "url.full": f"{path}?q=1",
        "rpc.service": "ServiceInvocation",
        "net.peer.name": "stock",
        "dapr-note": "n",
    }
    path = "/v1.0/actors/Cart/7/method/add"
    assert tags_of(named(order, "stock", "client", "CallActor/Cart/add")) == {
        "dapr.api": f"POST {path}",
        "dapr.protocol": "http",
        "dapr.status_code": "200",
        "http.request.method": "POST",
        "url.full": path,
        "rpc.service": "ServiceInvocation",
        "net.peer.name": "Cart.7",
        "dapr.actor": "Cart.7",
    }
    path = "/v1.0/state/store/order"
    assert tags_of(named(order, "shop", "client", path)) == {
        "dapr.api": f"GET {path}",
        "dapr.protocol": "http",
        "dapr.status_code": "204",
        "http.request.method": "GET",
        "url.full": path,
        "db.system": "state",
        "db.name": "store",
        "db.statement": f"GET {path}",
        "db.connection_string": "state",
    }


def test_attributes_over_grpc(order: list[Shown]) -> None:
    def api(method: str, **more: str) -> dict[str, str]:
        found = {name.replace("_", "."): value for name, value in more.items()}
        return {"dapr.api": API + method, "dapr.protocol": "grpc", **found}

    def database(method: str, system: str, name: str) -> dict[str, str]:
        more = {"db.connection_string": system}
        return more | api(
            method,
            rpc_service="Dapr",
            db_system=system,
            db_name=name,
            db_statement=API + method,
        )

    def tags(name: str) -> dict[str, str]:
        return tags_of(named(order, "stock", "client", name))

    assert tags(f"{API}SaveState") == database("SaveState", "state", "store")
    assert tags(f"{API}InvokeBinding") == database("InvokeBinding", "bindings", "ledger")
    publish = {"messaging.destination.name": "orders", "messaging.system": "pubsub"}
    assert tags(f"{API}PublishEvent") == publish | api("PublishEvent", rpc_service="Dapr")
    invoke = api("InvokeService", rpc_service="ServiceInvocation", net_peer_name="shop")
    assert tags("CallLocal/shop/ship") == invoke
    assert tags_of(named(order, "shop", "client", "pubsub/orders")) == publish


def test_attributes_of_callees(order: list[Shown]) -> None:
    internal = "/dapr.proto.internals.v1.ServiceInvocation/"
    common = {"dapr.protocol": "grpc", "rpc.service": "ServiceInvocation"}
    for service, method, api in (
        ("shop", "ship", "CallLocal"),
        ("stock", "order", "CallLocal"),
    ):
        tags = tags_of(named(order, service, "server", f"CallLocal/{service}/{method}"))
        assert tags.pop("dapr.api").removesuffix("Stream") == internal + api
        assert {name: tags.get(name) for name in (*common, "dapr.invoke_method")} == {
            **common,
            "dapr.invoke_method": method,
        }
    tags = tags_of(named(order, "shop", "server", "CallActor/Cart/add"))
    expected = {**common, "dapr.actor": "Cart.7", "dapr.api": f"{internal}CallActor"}
    assert {name: tags.get(name) for name in expected} == expected


def test_zipkin_draws_who_depends_on_whom(collector: Collector, order: list[Shown]) -> None:
    if not isinstance(collector, Zipkin):
        pytest.skip("a question to Zipkin")
    assert {("shop", "stock"), ("stock", "shop")} <= collector.links()
    query = "serviceName=stock&spanName=calllocal%2Fstock%2Forder"
    assert collector.found(query + "&annotationQuery=dapr.invoke_method%3Dorder") >= 1


def test_a_proxied_call(shop: Shop, collector: Collector) -> None:
    trace_id = new_trace_id()
    parent = ("traceparent", f"00-{trace_id}-{CALLER}-01")
    target = ("dapr-app-id", "stock")
    assert shop.call_grpc("/my.Service/Own", b"x", parent, target)[0] == b"x"
    spans = collector.wait(trace_id, 2)
    drawn = "shop client /my.Service/Own\n  stock server /my.Service/Own\n"
    assert tree(spans) == spelled(collector, drawn)
    callee = named(spans, "stock", "server", "/my.Service/Own")
    assert shop.traceparents["Own"] == f"00-{trace_id}-{callee.span_id}-01"
    for span in spans:
        assert {name for name in span.tags if not name.startswith("dapr-")} == set()


def test_failures_say_why(shop: Shop, collector: Collector) -> None:
    http_trace, grpc_trace = new_trace_id(), new_trace_id()
    answer = shop.call("GET", "/v1.0/state/nowhere/k", None, f"00-{http_trace}-{CALLER}-01")
    assert answer.status == 400
    request = invoke_pb2.InvokeServiceRequest(
        id="stock", message=common_pb2.InvokeRequest(method="fail", http_extension={"verb": 3})
    )
    parent = ("traceparent", f"00-{grpc_trace}-{CALLER}-01")
    with pytest.raises(grpc.RpcError) as caught:
        shop.call_grpc(f"{API}InvokeService", request.SerializeToString(), parent)
    assert "no such thing" in caught.value.details()  # type: ignore[attr-defined]
    (failed,) = collector.wait(http_trace, 1)
    assert failed.error == "Code(400): Bad Request"
    spans = collector.wait(grpc_trace, 2)
    assert "no such thing" in named(spans, "shop", "client", "CallLocal/stock/fail").error
    proxied = new_trace_id()
    parent = ("traceparent", f"00-{proxied}-{CALLER}-01")
    with pytest.raises(grpc.RpcError):
        shop.call_grpc("/my.Service/Own", b"fail", parent, ("dapr-app-id", "stock"))
    assert {span.error for span in collector.wait(proxied, 2)} == {"not now"}


def test_entries_of_a_batch_are_children_of_its_publishing(
    shop: Shop, collector: Collector
) -> None:
    trace_id = new_trace_id()
    entries = [
        pubsub_pb2.BulkPublishRequestEntry(entry_id=key, event=b"1", content_type="text/plain")
        for key in ("a", "b")
    ]
    request = pubsub_pb2.BulkPublishRequest(
        pubsub_name="events", topic="elsewhere", entries=entries
    )
    parent = ("traceparent", f"00-{trace_id}-{CALLER}-01")
    shop.call_grpc(f"{API}BulkPublishEvent", request.SerializeToString(), parent)
    spans = collector.wait(trace_id, 3)
    publish = named(spans, "shop", "client", f"{API}BulkPublishEvent")
    assert publish.tags["messaging.destination.name"] == "elsewhere"
    rest = [(span.kind, span.parent_id) for span in spans if span is not publish]
    assert rest == [("producer", publish.span_id)] * 2


def test_what_the_caller_does_not_sample_goes_on_and_is_not_exported(
    shop: Shop, collector: Collector
) -> None:
    unsampled, sampled = new_trace_id(), new_trace_id()
    path = "/v1.0/invoke/stock/method/quiet"
    answer = shop.call("POST", path, b"1", f"00-{unsampled}-{CALLER}-00")
    assert answer.headers["traceparent"].startswith(f"00-{unsampled}-")
    assert answer.headers["traceparent"].endswith("-00")
    given = shop.traceparents["quiet"]
    assert given.startswith(f"00-{unsampled}-")
    assert given.endswith("-00")
    assert CALLER not in given
    assert given != answer.headers["traceparent"]
    shop.call("POST", path, b"1", f"00-{sampled}-{CALLER}-01")
    collector.wait(sampled, 2)
    assert collector.trace(unsampled) == []


def test_a_call_without_a_trace_begins_one(shop: Shop, collector: Collector) -> None:
    answer = shop.call("POST", "/v1.0/invoke/stock/method/new", b"1")
    _, trace_id, span_id, flags = answer.headers["traceparent"].split("-")
    assert flags == "01"
    spans = collector.wait(trace_id, 2)
    root = named(spans, "shop", "client", "CallLocal/stock/new")
    assert (root.span_id, root.parent_id) == (span_id, "")


def test_a_reminder_begins_a_trace_and_a_timer_none(shop: Shop, collector: Collector) -> None:
    trace_id = new_trace_id()
    for kind in ("timers", "reminders"):
        path = f"/v1.0/actors/Cart/8/{kind}/tick"
        body = {"dueTime": "0h0m0s100ms", "data": 1}
        assert shop.call("POST", path, body, f"00-{trace_id}-{CALLER}-01").status == 204
    (timer,) = shop.app.wait("/actors/Cart/8/method/timer/tick")
    assert timer.values("traceparent") == []
    _, begun, span_id, flags = shop.wait_traceparent("/actors/Cart/8/method/remind/tick").split("-")
    assert (begun != trace_id, flags) == (True, "01")
    (span,) = collector.wait(begun, 1)
    assert (span.span_id, span.parent_id, span.kind) == (span_id, "", "client")
    assert span.name == spelled(collector, "CallActor/Cart/remind/tick")
    assert span.tags["dapr.actor"] == "Cart.8"


def test_a_deactivation_is_no_part_of_the_last_call_s_trace(shop: Shop) -> None:
    parent = f"00-{new_trace_id()}-{CALLER}-01"
    assert shop.call("POST", "/v1.0/actors/Cart/9/method/add", b"1", parent).status == 200
    (deactivation,) = shop.app.wait("/actors/Cart/9")
    assert deactivation.method == "DELETE"
    assert deactivation.values("traceparent") == []


def test_an_event_of_an_input_binding_begins_a_trace(shop: Shop, collector: Collector) -> None:
    _, trace_id, span_id, flags = shop.wait_traceparent("/tick").split("-")
    assert flags == "01"
    (span,) = collector.wait(trace_id, 1)
    assert (span.name, span.span_id, span.parent_id) == ("bindings/tick", span_id, "")
    assert tags_of(span) == {
        "db.name": "tick",
        "rpc.service": "Dapr",
        "db.system": "bindings",
        "db.connection_string": "tick",
    }
