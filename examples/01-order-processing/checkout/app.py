"""Checkout: buys three things through its sidecar, with the official Dapr SDK for Python."""

from __future__ import annotations

import json
import sys

from dapr.clients import DaprClient

STORE, PUBSUB, TOPIC = "statestore", "pubsub", "orders"
CART = [("1", "tea", 2), ("2", "kettle", 1), ("3", "cups", 4)]


def main() -> int:
    """Place every order of the cart."""
    with DaprClient() as sidecar:
        for order_id, item, quantity in CART:
            order = {"id": order_id, "item": item, "quantity": quantity}
            place(sidecar, order)
    print("checkout is done", flush=True)
    return 0


def place(sidecar: DaprClient, order: dict) -> None:
    """Ask for the price, keep the order, and tell everybody."""
    answer = sidecar.invoke_method(
        "order-processor",
        "price",
        data=json.dumps(order),
        http_verb="POST",
        content_type="application/json",
    )
    order["price"] = answer.json()["price"]

    key = f"order-{order['id']}"
    sidecar.save_state(STORE, key, json.dumps(order))
    kept = json.loads(sidecar.get_state(STORE, key).data)
    assert kept == order, f"the store gave {kept} for {order}"

    sidecar.publish_event(PUBSUB, TOPIC, json.dumps(kept), data_content_type="application/json")
    print(f"order {order['id']}: {json.dumps(kept)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
