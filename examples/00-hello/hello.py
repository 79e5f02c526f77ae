import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/dapr/subscribe":  # the sidecar asks once what we want to hear of
            self.answer([{"pubsubname": "pubsub", "topic": "greetings", "route": "/greetings"}])
        else:
            self.answer({})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/greetings":  # a message from the topic, as a CloudEvent
            print("received:", body["data"], flush=True)
            self.answer({"status": "SUCCESS"})
        else:  # a call from another service
            self.answer({"hello": body["name"]})

    def answer(self, content):
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments): ...


ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), Hello).serve_forever()
