"""A stand-in for Google Cloud Storage, written from the reference of its JSON interface.

Objects of any bucket that was made here, pages, rewrites in steps, generations, signed URLs. It
proves that our client does what that text says, not how the service behaves.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

Resource = dict[str, Any]
_OBJECTS = re.compile(r"/storage/v1/b/([^/]+)/o(?:/([^/]+))?(?:/rewriteTo/b/([^/]+)/o/([^/]+))?")
_UPLOADS = re.compile(r"/upload/storage/v1/b/([^/]+)/o")
_BUCKET = re.compile(r"/storage/v1/b/([^/]+)")
_PLAIN = re.compile(r"/([^/]+)/(.+)")


class RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class StandInGcs:
    """``port`` speaks plain HTTP; ``page`` is the most that one answer lists."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, tuple[Resource, bytes]]] = {}
        self.requests: list[tuple[str, str]] = []
        self.key: rsa.RSAPublicKey | None = None
        self.page = 1000
        self.busy = 0  # so many of the next requests are told to come later
        self.lock = threading.Lock()
        self.port = 0
        self._generation = 0
        self._tokens: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def find(self, bucket: str, key: str) -> tuple[Resource, bytes]:
        if bucket not in self.buckets:
            raise RefusedError(404, "The specified bucket does not exist.")
        if key not in self.buckets[bucket]:
            raise RefusedError(404, f"No such object: {bucket}/{key}")
        return self.buckets[bucket][key]

    def store(self, bucket: str, key: str, content: bytes, kind: str) -> Resource:
        if bucket not in self.buckets:
            raise RefusedError(404, "The specified bucket does not exist.")
        self._generation += 1
        digest = base64.b64encode(hashlib.md5(content).digest()).decode()
        resource = {
            "kind": "storage#object",
            "bucket": bucket,
            "name": key,
            "contentType": kind,
            "size": str(len(content)),
            "md5Hash": digest,
            "crc32c": "AAAAAQ==",
            "generation": str(self._generation),
            "metageneration": "1",
            "storageClass": "STANDARD",
            "timeCreated": "2026-01-02T03:04:05.678Z",
            "updated": "2026-01-02T03:04:05.678Z",
            "etag": "CAE=",
        }
        self.buckets[bucket][key] = (resource, content)
        return resource

    def delete(self, bucket: str, key: str, words: dict[str, str]) -> None:
        resource, _ = self.find(bucket, key)
        wanted = words.get("ifGenerationMatch")
        if wanted is not None and wanted != resource["generation"]:
            raise RefusedError(412, "At least one of the pre-conditions did not hold.")
        del self.buckets[bucket][key]

    def list(self, bucket: str, words: dict[str, str]) -> Any:
        if bucket not in self.buckets:
            raise RefusedError(404, "The specified bucket does not exist.")
        prefix, delimiter = words.get("prefix", ""), words.get("delimiter", "")
        found: dict[str, Resource | None] = {}
        for key in sorted(self.buckets[bucket]):
            if not key.startswith(prefix):
                continue
            head, joint, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            is_group = bool(joint)
            name = prefix + head + joint if is_group else key
            found[name] = None if is_group else self.buckets[bucket][key][0]
        names = [name for name in sorted(found) if name > words.get("pageToken", "")]
        shown = names[: min(self.page, int(words.get("maxResults", "1000")))]
        answer: Any = {"kind": "storage#objects"}
        if objects := [found[name] for name in shown if found[name] is not None]:
            answer["items"] = objects
        if groups := [name for name in shown if found[name] is None]:
            answer["prefixes"] = groups
        if len(shown) < len(names):
            answer["nextPageToken"] = shown[-1]
        return answer

    def rewrite(self, source: tuple[str, str], place: tuple[str, str], words: Any) -> Any:
        """The first call of a copy does only half of it."""
        resource, content = self.find(*source)
        if words.get("sourceGeneration", resource["generation"]) != resource["generation"]:
            raise RefusedError(404, "No such generation")
        if (token := words.get("rewriteToken")) is None:
            token = f"step-{len(self._tokens)}"
            self._tokens.add(token)
            return {"kind": "storage#rewriteResponse", "done": False, "rewriteToken": token}
        if token not in self._tokens:
            raise RefusedError(400, "Invalid rewrite token")
        made = self.store(*place, content, resource["contentType"])
        return {"kind": "storage#rewriteResponse", "done": True, "resource": made}

    def check_signature(self, target: str, host: str) -> None:
        """Whether a URL of the form of V4 was signed with the account's key."""
        path, _, query = target.partition("?")
        unsigned, _, signature = query.rpartition("&X-Goog-Signature=")
        words = dict(urllib.parse.parse_qsl(unsigned))
        scope = words["X-Goog-Credential"].partition("/")[2]
        request = f"GET\n{path}\n{unsigned}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"GOOG4-RSA-SHA256\n{words['X-Goog-Date']}\n{scope}\n{digest}"
        assert self.key is not None
        try:
            self.key.verify(bytes.fromhex(signature), text.encode(), padding.PKCS1v15(), SHA256())
        except InvalidSignature:
            raise RefusedError(403, "SignatureDoesNotMatch") from None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gcs: StandInGcs

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.gcs.lock:
            self.gcs.requests.append((self.command, self.path))
            try:
                if self.gcs.busy:
                    self.gcs.busy -= 1
                    raise RefusedError(503, "come later")
                status, answer = 200, self._answer(body)
            except RefusedError as error:
                status = error.status
                answer = {"error": {"code": error.status, "message": str(error)}}
        raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        if answer is None:
            status, raw = 204, b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - the base class wants them so

    def _answer(self, body: bytes) -> Any:
        gcs = self.gcs
        path, _, query = self.path.partition("?")
        words = dict(urllib.parse.parse_qsl(query))
        if found := _UPLOADS.fullmatch(path):
            kind = self.headers.get("Content-Type", "")
            return gcs.store(found[1], words["name"], body, kind)
        if found := _OBJECTS.fullmatch(path):
            bucket, key, *place = (urllib.parse.unquote(part or "") for part in found.groups())
            if place[0]:
                return gcs.rewrite((bucket, key), (place[0], place[1]), words)
            if not key:
                return gcs.list(bucket, words)
            if self.command == "DELETE":
                return gcs.delete(bucket, key, words)
            resource, content = gcs.find(bucket, key)
            return content if words.get("alt") == "media" else resource
        if found := _BUCKET.fullmatch(path):
            if found[1] not in gcs.buckets:
                raise RefusedError(404, "The specified bucket does not exist.")
            return {"name": found[1]}
        if "X-Goog-Signature" in words and (found := _PLAIN.fullmatch(path)):
            gcs.check_signature(self.path, self.headers["Host"])
            return gcs.find(found[1], urllib.parse.unquote(found[2]))[1]
        raise RefusedError(404, "Not Found")

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def stand_in_gcs(*buckets: str) -> Iterator[StandInGcs]:
    """One that serves for as long as a test needs it; with a bucket ``photos`` or those named."""
    gcs = StandInGcs()
    gcs.buckets = {name: {} for name in buckets or ("photos",)}
    handler = type("Handler", (_Handler,), {"gcs": gcs})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    gcs.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield gcs
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
