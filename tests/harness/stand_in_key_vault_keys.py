"""A stand-in for the keys of Azure Key Vault, which the kit's emulator does not have.

Written from the REST reference: versions, disabled keys, what each kind of key can do, tokens,
a busy service. It really encrypts, with keys of its own, so that what our client sends is put to
the proof; it does not prove how the service behaves.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import urllib.parse
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

TOKEN = "stand-in-token"
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | bytes
_OAEP = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
_CBC = {"A128CBC": 16, "A192CBC": 24, "A256CBC": 32}


class RefusedError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass
class Version:
    id: str
    key: Key
    enabled: bool = True


@dataclass
class StandInKeyVault:
    """Keys by name, each with its versions, the newest last."""

    url: str = ""
    keys: dict[str, list[Version]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """Method and path of every request."""
    busy: int = 0
    """So many of the next requests are told to come later."""
    lists: bool = True
    """Whether the caller may list versions."""

    def create(self, name: str, key: Key) -> str:
        """A key, or a new version of it; returns the version."""
        version = Version(uuid.uuid4().hex, key)
        self.keys.setdefault(name, []).append(version)
        return version.id

    def find(self, name: str, version: str) -> Version:
        found = [one for one in self.keys.get(name, []) if version in ("", one.id)]
        if not found:
            text = f"A key with (name/id) {name}/{version} was not found in this key vault."
            raise RefusedError(404, "KeyNotFound", text)
        if not found[-1].enabled:
            raise RefusedError(403, "Forbidden", "Operation is not allowed on a disabled key.")
        return found[-1]


def new_rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def known_rsa_key() -> rsa.RSAPrivateKey:
    """One for all tests: making one takes time."""
    return new_rsa_key()


def operate(operation: str, key: Key, algorithm: str, value: bytes, nonce: bytes) -> bytes:
    """What the service does with a key; which kinds of key can do what is the reference's."""
    wraps = operation in ("wrapkey", "unwrapkey")
    try:
        if isinstance(key, rsa.RSAPrivateKey) and algorithm == "RSA-OAEP-256":
            if operation in ("wrapkey", "encrypt"):
                return key.public_key().encrypt(value, _OAEP)
            return key.decrypt(value, _OAEP)
        if isinstance(key, bytes) and algorithm == f"A{len(key) * 8}KW" and wraps:
            return (aes_key_wrap if operation == "wrapkey" else aes_key_unwrap)(key, value)
        if isinstance(key, bytes) and _CBC.get(algorithm) == len(key) and not wraps:
            cipher = Cipher(algorithms.AES(key), modes.CBC(nonce))
            context = cipher.encryptor() if operation == "encrypt" else cipher.decryptor()
            return context.update(value) + context.finalize()
    except (ValueError, InvalidUnwrap) as error:
        raise RefusedError(400, "BadParameter", "The parameter is incorrect.") from error
    raise RefusedError(400, "BadParameter", f"Key and algorithm {algorithm} are incompatible.")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    vault: StandInKeyVault

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urllib.parse.urlsplit(self.path)
        self.vault.asked.append(f"{self.command} {url.path}")
        headers: dict[str, str] = {}
        try:
            if self.vault.busy:
                self.vault.busy -= 1
                headers["Retry-After"] = "0"
                raise RefusedError(429, "Throttled", "Request was not processed.")
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise RefusedError(401, "Unauthorized", "The token is not good.")
            if not urllib.parse.parse_qs(url.query).get("api-version"):
                raise RefusedError(400, "BadParameter", "api-version is missing.")
            status, answer = 200, self._answer(url.path, body)
        except RefusedError as error:
            status = error.status
            answer = {"error": {"code": error.code, "message": str(error)}}
        raw = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = _serve  # noqa: N815 - the base class wants them so

    def _answer(self, path: str, body: bytes) -> dict[str, Any]:
        parts = path.split("/")[1:]
        is_listing = self.command == "GET" and (parts == ["keys"] or parts[2:] == ["versions"])
        if is_listing and not self.vault.lists:
            raise RefusedError(403, "Forbidden", "The caller has no list permission.")
        if parts == ["keys"]:
            return {"value": [self._item(name, one[-1]) for name, one in self.vault.keys.items()]}
        if is_listing:
            return {"value": [self._item(parts[1], one) for one in self.vault.keys[parts[1]]]}
        if self.command != "POST" or len(parts) != 4 or parts[0] != "keys":
            raise RefusedError(404, "NotFound", f"There is nothing at {path}.")
        _, name, version, operation = parts
        if operation not in ("wrapkey", "unwrapkey", "encrypt", "decrypt"):
            raise RefusedError(404, "NotFound", f"There is nothing at {path}.")
        request = json.loads(body)
        found = self.vault.find(name, version)
        nonce = _bytes(request.get("iv", ""))
        value = operate(operation, found.key, request["alg"], _bytes(request["value"]), nonce)
        return {"kid": self._item(name, found)["kid"], "value": _text(value)}

    def _item(self, name: str, version: Version) -> dict[str, Any]:
        return {
            "kid": f"{self.vault.url}/keys/{name}/{version.id}",
            "attributes": {
                "enabled": version.enabled,
                "created": 1_700_000_000 + self.vault.keys[name].index(version),
            },
        }

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def stand_in_key_vault() -> Iterator[StandInKeyVault]:
    """One that serves for as long as a test needs it, with the keys of the shared suite."""
    vault = StandInKeyVault()
    vault.create("rsa", known_rsa_key())
    vault.create("aes128", os.urandom(16))
    vault.create("aes192", os.urandom(24))
    vault.create("aes256", os.urandom(32))
    vault.create("curve", ec.generate_private_key(ec.SECP256R1()))
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"vault": vault}))
    vault.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield vault
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
