"""A stand-in for Azure Cosmos DB, for what its emulator lacks.

Written from the REST reference: signatures, partitions, etags, expiry, ids, transactional batches.
It proves that our client does what that text says, not how the service behaves.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Document = dict[str, Any]
KEY = base64.b64encode(b"stand-in").decode()
TOKEN = "stand-in-token"


class RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class StandInCosmos:
    """One container ``col`` of a database ``db``; ``port`` speaks plain HTTP."""

    def __init__(self, partition_path: str = "/partitionKey") -> None:
        self.path = partition_path
        self.documents: dict[tuple[str, str], Document] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.busy = 0  # so many of the next requests are told to come later
        self.lock = threading.Lock()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # --- documents --------------------------------------------------------------------------

    def find(self, partition: str, key: str) -> Document | None:
        found = self.documents.get((partition, key))
        ttl = (found or {}).get("ttl", -1)
        if found is not None and ttl != -1 and found["_ts"] + ttl <= time.time():
            del self.documents[partition, key]
            return None
        return found

    def write(self, partition: str, kind: str, document: Document, etag: str | None) -> Document:
        key = document["id"]
        found = self.find(partition, key)
        if document.get("partitionKey") != partition:
            raise RefusedError(400, "the partition key does not match the document's")
        if not key or set(key) & set("/\\?#") or len(key.encode()) > 1023:
            raise RefusedError(400, "the id is not allowed")
        if isinstance(ttl := document.get("ttl"), int) and ttl < 1 and ttl != -1:
            raise RefusedError(400, "the ttl is not allowed")
        if kind == "Create" and found is not None:
            raise RefusedError(409, "exists already")
        if kind == "Replace" and found is None:
            raise RefusedError(404, "not found")
        if etag and found is not None and found["_etag"] != etag:
            raise RefusedError(412, "the precondition failed")
        stored = {**document, "_etag": f'"{uuid.uuid4()}"', "_ts": int(time.time())}
        self.documents[partition, key] = stored
        return stored

    def remove(self, partition: str, key: str, etag: str | None) -> None:
        found = self.find(partition, key)
        if found is None:
            raise RefusedError(404, "not found")
        if etag and found["_etag"] != etag:
            raise RefusedError(412, "the precondition failed")
        del self.documents[partition, key]

    def batch(self, partition: str, operations: list[Any]) -> tuple[int, list[Any]]:
        """All or nothing; what was not reached has the status 424."""
        before = dict(self.documents)
        if len(operations) > 100:
            raise RefusedError(400, "more than 100 operations")
        for position, one in enumerate(operations):
            try:
                if one["operationType"] == "Delete":
                    self.remove(partition, one["id"], one.get("ifMatch"))
                else:
                    kind, etag = one["operationType"], one.get("ifMatch")
                    self.write(partition, kind, one["resourceBody"], etag)
            except RefusedError as error:
                self.documents = before
                results = [{"statusCode": 424} for _ in operations]
                results[position] = {"statusCode": error.status}
                return 207, results
        return 200, [{"statusCode": 200} for _ in operations]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cosmos: StandInCosmos

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.cosmos.lock:
            self.cosmos.requests.append((self.command, self.path, headers))
            try:
                if self.cosmos.busy:
                    self.cosmos.busy -= 1
                    raise RefusedError(429, "too many requests")
                self._authorize(headers)
                status, answer = self._answer(headers, body)
            except RefusedError as error:
                status, answer = error.status, {"message": str(error)}
        raw = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.send_header("x-ms-session-token", f"0:-1#{len(self.cosmos.requests)}")
        self.send_header("x-ms-retry-after-ms", "10")
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the base class wants them so

    def _authorize(self, headers: dict[str, str]) -> None:
        words = dict(urllib.parse.parse_qsl(urllib.parse.unquote(headers["authorization"])))
        given = urllib.parse.unquote(headers["authorization"]).partition("sig=")[2]
        if words["type"] == "aad":
            if given != TOKEN:
                raise RefusedError(401, "the token is not good")
            return
        link = urllib.parse.unquote(self.path.strip("/"))
        kind = "docs" if "/docs" in link else "colls"
        if link.endswith("/docs"):
            link = link.removesuffix("/docs")
        text = f"{self.command.lower()}\n{kind}\n{link}\n{headers['x-ms-date'].lower()}\n\n"
        digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
        if given != base64.b64encode(digest).decode():
            raise RefusedError(401, "the signature is not good")

    def _answer(self, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        cosmos = self.cosmos
        database, _, rest = self.path.removeprefix("/dbs/").partition("/colls/")
        container, _, place = rest.partition("/docs")
        if (database, container) != ("db", "col"):
            raise RefusedError(404, "not found")
        if "/docs" not in rest:
            return 200, {"id": "col", "partitionKey": {"paths": [cosmos.path]}}
        (partition,) = json.loads(headers["x-ms-documentdb-partitionkey"])
        key, etag = urllib.parse.unquote(place.strip("/")), headers.get("if-match")
        if self.command == "GET":
            if (found := cosmos.find(partition, key)) is None:
                raise RefusedError(404, "not found")
            return 200, found
        if self.command == "DELETE":
            cosmos.remove(partition, key, etag)
            return 204, None
        content = json.loads(body)
        if self.command == "PUT":
            return 200, cosmos.write(partition, "Replace", content, etag)
        if headers.get("x-ms-cosmos-is-batch-request") == "True":
            return cosmos.batch(partition, content)
        if headers.get("x-ms-documentdb-isquery") == "True":
            return 200, self._page(partition, headers)
        kind = "Upsert" if headers.get("x-ms-documentdb-is-upsert") == "True" else "Create"
        return 201, cosmos.write(partition, kind, content, etag)

    def _page(self, partition: str, headers: dict[str, str]) -> Any:
        """The partition's documents, whatever was asked for: filters are the emulator's part."""
        keys = sorted(key for part, key in self.cosmos.documents if part == partition)
        found = [self.cosmos.documents[partition, key] for key in keys]
        return {"Documents": found}

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def stand_in_cosmos(partition_path: str = "/partitionKey") -> Iterator[StandInCosmos]:
    """One that serves for as long as a test needs it."""
    cosmos = StandInCosmos(partition_path)
    handler = type("Handler", (_Handler,), {"cosmos": cosmos})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    cosmos.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield cosmos
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
