"""Order processor: plain HTTP and nothing but Python's standard library.

Its sidecar calls it: other applications by service invocation (``/price``, ``/shipments``), the
broker by subscription (``/orders``).
"""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PRICES = {"tea": 4.9, "kettle": 39.0, "cups": 7.5}
SUBSCRIPTIONS = [{"pubsubname": "pubsub", "topic": "orders", "route": "/orders"}]
shipped: dict[str, dict] = {}


class Handler(BaseHTTPRequestHandler):
    """What the sidecar may ask."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Tell the subscriptions, or what was shipped."""
        if self.path == "/dapr/subscribe":
            self.answer(200, SUBSCRIPTIONS)
        elif self.path == "/shipments":
            self.answer(200, list(shipped.values()))
        else:
            self.answer(404, {"error": f"nothing at {self.path}"})

    def do_POST(self) -> None:
        """Price an order, or take one from the topic."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")
        if self.path == "/price":
            price = PRICES.get(body["item"])
            if price is None:
                self.answer(400, {"error": f"there is no {body['item']}"})
                return
            self.answer(200, {"price": round(price * body["quantity"], 2)})
        elif self.path == "/orders":
            order = body["data"]
            # A broker delivers at least once: an order that was shipped is not shipped again.
            if order["id"] not in shipped:
                shipped[order["id"]] = order
                print(f"shipping order {order['id']}: {order['item']}", flush=True)
            self.answer(200, {"status": "SUCCESS"})
        else:
            self.answer(404, {"error": f"nothing at {self.path}"})

    def answer(self, status: int, content: object) -> None:
        """Send JSON."""
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's name
        """Keep the console for what matters."""


if __name__ == "__main__":
    port = int(os.environ.get("APP_PORT", "6001"))
    print(f"order-processor listens on port {port}", flush=True)
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
