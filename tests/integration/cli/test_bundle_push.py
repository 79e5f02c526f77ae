"""``dapr bundle push`` to a real registry, and back."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import re
import secrets
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from harness.bundles import PROGRAMS, SHARED_LAYER, Layout, bundle, layout
from harness.cli import Dapr
from harness.image_registry import (
    PASSWORD,
    USER,
    ImageRegistry,
    docker_config,
    registry_program,
)
from harness.programs import free_port

from dapr_cli.bundle import pushing
from dapr_cli.bundle import registry as registry_client
from dapr_cli.bundle.image_names import Place
from dapr_cli.bundle.manifest import read
from dapr_cli.bundle.pushing import push
from dapr_cli.bundle.registry import Access
from dapr_cli.console import Console
from dapr_cli.errors import CliError

pytestmark = pytest.mark.skipif(
    not registry_program(), reason="not here: registry (tools/programs.py builds it)"
)
SHARED = f"sha256:{hashlib.sha256(SHARED_LAYER).hexdigest()}"


@pytest.fixture
def images(tmp_path: Path) -> Layout:
    return layout(tmp_path / "layout")


@pytest.fixture
def folder(tmp_path: Path, images: Layout) -> Path:
    return bundle(tmp_path / "bundle", images.folder)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    found = tmp_path / "registry"
    found.mkdir()
    return found


@pytest.fixture
def dapr(tmp_path: Path) -> Dapr:
    return Dapr(tmp_path)


def assert_whole(
    registry: ImageRegistry, images: Layout, path: str, tls: ssl.SSLContext | None = None
) -> None:
    """What comes back are the images of the layout, to the last byte."""
    for name, digest in images.digests.items():
        program, _, tag = name.rpartition("/")[2].partition(":")
        found, parts = registry.pull(f"{path}/{program}", tag, tls)
        assert found == digest
        for part, content in parts.items():
            file = images.folder / "blobs" / "sha256" / part.removeprefix("sha256:")
            assert file.read_bytes() == content


def test_what_is_pushed_comes_back(dapr: Dapr, folder: Path, images: Layout, place: Path) -> None:
    with ImageRegistry(place) as registry:
        target = f"{registry.place}/team/dapr"
        done = dapr("bundle", "push", str(folder), "--registry", target)
        assert (done.returncode, done.stderr) == (0, ""), done
        for program in PROGRAMS:
            assert f"Pushing {target}/{program}:1.2.3" in done.stdout
            digest = images.digests[f"localhost/dapr/{program}:1.2.3"]
            assert f"{target}/{program}:1.2.3 is pushed" in done.stdout
            assert digest in done.stdout
        assert f"dapr init -k --from-dir {folder} --set global.registry={target}" in done.stdout
        assert_whole(registry, images, "team/dapr")
        sent = registry.requests("PUT", SHARED.partition(":")[2])
        assert len(sent) == 1, "the others took over from the first repository what all have"

        before = len(registry.requests("PUT"))
        again = dapr("bundle", "push", str(folder), "--registry", target)
        assert again.returncode == 0
        assert again.stdout.count("is there already") == len(PROGRAMS)
        assert len(registry.requests("PUT")) == before


def test_only_what_is_missing_is_sent(
    dapr: Dapr, folder: Path, tmp_path: Path, place: Path
) -> None:
    """A new version of one image: its manifest, its configuration and its own layer."""
    newer = layout(tmp_path / "newer", tag="1.2.4")
    after = bundle(tmp_path / "after", newer.folder)
    with ImageRegistry(place) as registry:
        assert dapr("bundle", "push", str(folder), "--registry", registry.place).returncode == 0
        first = len(registry.requests("PUT"))
        done = dapr("bundle", "push", str(after), "--registry", registry.place)
        assert done.returncode == 0, done
        more = registry.requests("PUT")[first:]
        assert not [line for line in more if SHARED.partition(":")[2] in line]
        assert len(more) == 3 * len(PROGRAMS)
        assert set(registry.tags("daprd")) == {"1.2.3", "1.2.4"}


def test_an_image_for_several_platforms(dapr: Dapr, tmp_path: Path, place: Path) -> None:
    images = layout(tmp_path / "both", architectures=("amd64", "arm64"))
    folder = bundle(tmp_path / "bundle", images.folder)
    with ImageRegistry(place) as registry:
        done = dapr("bundle", "push", str(folder), "--registry", f"{registry.place}/x")
        assert done.returncode == 0, done
        assert_whole(registry, images, "x")


def test_damage_is_found_before_anything_is_sent(dapr: Dapr, folder: Path, place: Path) -> None:
    file = folder / "images" / "images.tar"
    content = bytearray(file.read_bytes())
    content[3000] ^= 1
    file.write_bytes(content)
    with ImageRegistry(place) as registry:
        done = dapr("bundle", "push", str(folder), "--registry", f"{registry.place}/x")
        assert done.returncode == 1
        assert f"{file} is damaged or was changed" in done.stderr
        assert registry.requests("HEAD") == registry.requests("POST") == []


def test_a_bundle_without_images(dapr: Dapr, tmp_path: Path) -> None:
    folder = bundle(tmp_path / "bundle")
    done = dapr("bundle", "push", str(folder), "--registry", "127.0.0.1:1/x")
    assert done.returncode == 1
    assert "has no images" in done.stderr


# --- logins -------------------------------------------------------------------------------------


def test_a_password(dapr: Dapr, folder: Path, images: Layout, place: Path, tmp_path: Path) -> None:
    with ImageRegistry(place, with_password=True) as registry:
        words = ("bundle", "push", str(folder), "--registry", f"{registry.place}/x")
        nobody = docker_config(tmp_path / "nobody", "other.io")
        done = dapr(*words, env={"DOCKER_CONFIG": str(nobody)})
        assert done.returncode == 1
        assert f"registry {registry.place} wants a login" in done.stderr
        assert f"'docker login {registry.place}'" in done.stderr
        store = tmp_path / "store"
        store.mkdir()
        (store / "config.json").write_text('{"credsStore": "nowhere"}')
        done = dapr(*words, env={"DOCKER_CONFIG": str(store)})
        assert (
            f"docker-credential-nowhere, which keeps the login to {registry.place}" in done.stderr
        )
        wrong = docker_config(tmp_path / "wrong", registry.place, password="guessed it")
        done = dapr(*words, env={"DOCKER_CONFIG": str(wrong)})
        assert done.returncode == 1
        assert f"does not let {USER} in" in done.stderr
        assert "guessed" not in done.stderr + done.stdout
        assert registry.tags("x/daprd") == []
        right = docker_config(tmp_path / "right", registry.place)
        done = dapr(*words, env={"DOCKER_CONFIG": str(right)})
        assert (done.returncode, done.stderr) == (0, ""), done
        assert PASSWORD not in done.stdout
        assert_whole(registry, images, "x")


class Tokens(ThreadingHTTPServer):
    """Makes the tokens of a registry, for one user, as the registry's documentation has them."""

    def __init__(self, folder: Path) -> None:
        certificate = trustme.CA().issue_cert("tokens.test")
        self.chain = [pem.bytes() for pem in certificate.cert_chain_pems]
        self.key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
        self.roots = folder / "roots.pem"
        self.roots.write_bytes(self.chain[0])
        self.asked: list[dict[str, list[str]]] = []
        super().__init__(("127.0.0.1", 0), _TokenHandler)
        self.realm = f"http://127.0.0.1:{self.server_port}/token"
        self.auth = {
            "token": {
                "realm": self.realm,
                "service": "images",
                "issuer": "test",
                "rootcertbundle": str(self.roots),
            }
        }

    def token(self, scopes: list[str]) -> str:
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        der = x509.load_pem_x509_certificate(self.chain[0]).public_bytes(Encoding.DER)
        now = int(time.time())
        claims = {
            "iss": "test",
            "sub": USER,
            "aud": "images",
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        headers = {"x5c": [base64.b64encode(der).decode()]}
        algorithm = "ES256" if "EC" in type(self.key).__name__ else "RS256"
        return jwt.encode(claims, self.key, algorithm, headers)  # type: ignore[arg-type]


class _TokenHandler(BaseHTTPRequestHandler):
    server: Tokens

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        self.server.asked.append(query)
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") == f"Basic {login}":
            self._answer(200, {"token": self.server.token(query["scope"])})
        else:
            self._answer(401, {})

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.server.asked.append(form)
        if form["grant_type"] == ["refresh_token"] and form["refresh_token"] == ["long-lived"]:
            scopes = form["scope"][0].split()
            self._answer(200, {"access_token": self.server.token(scopes)})
        else:
            self._answer(401, {})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Not into the tests' output."""


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_tokens(dapr: Dapr, folder: Path, place: Path, tmp_path: Path) -> None:
    """The registry sends its users to somebody else; each repository has a token of its own."""
    tokens = Tokens(place)
    with serving(tokens), ImageRegistry(place, auth=tokens.auth) as registry:
        words = ("bundle", "push", str(folder), "--registry", f"{registry.place}/x")
        wrong = docker_config(tmp_path / "wrong", registry.place, password="guessed it")
        done = dapr(*words, env={"DOCKER_CONFIG": str(wrong)})
        assert done.returncode == 1
        assert f"does not let {USER} in" in done.stderr
        right = docker_config(tmp_path / "right", registry.place)
        done = dapr(*words, env={"DOCKER_CONFIG": str(right)})
        assert (done.returncode, done.stderr) == (0, ""), done
        assert done.stdout.count("is pushed") == len(PROGRAMS)
        scopes = {scope for query in tokens.asked for scope in query["scope"]}
        assert {f"repository:x/{program}:pull,push" for program in PROGRAMS} <= scopes
        assert {query["service"][0] for query in tokens.asked} == {"images"}


def test_a_token_for_tokens(dapr: Dapr, folder: Path, place: Path, tmp_path: Path) -> None:
    tokens = Tokens(place)
    with serving(tokens), ImageRegistry(place, auth=tokens.auth) as registry:
        login = tmp_path / "login"
        login.mkdir()
        auths = {registry.place: {"identitytoken": "long-lived"}}
        (login / "config.json").write_text(json.dumps({"auths": auths}))
        done = dapr(
            *("bundle", "push", str(folder), "--registry", f"{registry.place}/x"),
            env={"DOCKER_CONFIG": str(login)},
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        assert {tuple(form["grant_type"]) for form in tokens.asked} == {("refresh_token",)}


# --- TLS, and registries that fail --------------------------------------------------------------


def test_tls(dapr: Dapr, folder: Path, images: Layout, place: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(place / "tls.crt")
    certificate.private_key_pem.write_to_path(place / "tls.key")
    authority.cert_pem.write_to_path(place / "ca.crt")
    stranger = place / "stranger.crt"
    trustme.CA().cert_pem.write_to_path(stranger)
    with ImageRegistry(place, tls=(place / "tls.crt", place / "tls.key")) as registry:
        words = ("bundle", "push", str(folder), "--registry", f"{registry.place}/x")
        done = dapr(*words, "--registry-ca", str(stranger))
        assert done.returncode == 1
        assert "CERTIFICATE_VERIFY_FAILED" in done.stderr
        assert "--registry-ca FILE names the certificate of the authority" in done.stderr
        done = dapr(*words, "--registry-ca", str(place / "ca.crt"))
        assert (done.returncode, done.stderr) == (0, ""), done
        context = ssl.create_default_context(cafile=place / "ca.crt")
        assert_whole(registry, images, "x", context)
    done = dapr(*words, "--registry-ca", str(folder / "bundle.json"))
    assert "cannot be read" in done.stderr


def test_plain_http_is_for_this_machine_only(dapr: Dapr, folder: Path, place: Path) -> None:
    """Elsewhere TLS is spoken unless the user says otherwise: a name of this machine shows it."""
    with ImageRegistry(place) as registry:
        elsewhere = f"127.0.0.1.nip.invalid:{registry.port}"
        done = dapr("bundle", "push", str(folder), "--registry", f"{elsewhere}/x")
        assert f"registry {elsewhere} cannot be reached" in done.stderr
        certificate = place / "ca.crt"
        trustme.CA().cert_pem.write_to_path(certificate)  # which asks for TLS
        words = ("bundle", "push", str(folder), "--registry", f"{registry.place}/x")
        done = dapr(*words, "--registry-ca", str(certificate))
        assert done.returncode == 1
        assert "If it speaks plain HTTP, say so: --registry-plain-http" in done.stderr
        done = dapr(*words, "--registry-ca", str(certificate), "--registry-plain-http")
        assert done.returncode == 0, done


def test_nobody_listens(dapr: Dapr, folder: Path) -> None:
    port = free_port()
    done = dapr("bundle", "push", str(folder), "--registry", f"127.0.0.1:{port}/x")
    assert done.returncode == 1
    assert f"registry 127.0.0.1:{port} cannot be reached" in done.stderr
    assert "the same command goes on with the rest" in done.stderr


class SlowRegistry:
    """Answers as a registry that has nothing; what is sent to it, it reads as slowly as it likes.

    ``bytes_a_turn``: every twentieth of a second. Nothing, and it never answers.
    """

    def __init__(self, bytes_a_turn: int) -> None:
        self.bytes_a_turn = bytes_a_turn
        self.read_bytes = 0
        self.stuck = asyncio.Event()
        self._calls: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._calls[task] = writer
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self._request(reader, writer)

    async def close(self) -> None:
        """End every connection that is left."""
        for task, writer in self._calls.items():
            task.cancel()
            await asyncio.wait({task})
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        answer = {"HEAD": "404 Not Found", "POST": "202 Accepted"}.get(head[:4], "201 Created")
        if head.startswith("PUT"):
            left = int(head.lower().partition("content-length: ")[2].split("\r")[0])
            if not self.bytes_a_turn:
                self.stuck.set()
                await asyncio.Event().wait()
            while left:
                taken = len(await reader.readexactly(min(left, self.bytes_a_turn)))
                left, self.read_bytes = left - taken, self.read_bytes + taken
                await asyncio.sleep(0.05)  # that is how slow it is
        location = "Location: /v2/upload/1?state=a%2Fb\r\n"
        writer.write(f"HTTP/1.1 {answer}\r\n{location}Content-Length: 0\r\n\r\n".encode())


@asynccontextmanager
async def slow_registry(bytes_a_turn: int) -> AsyncIterator[tuple[SlowRegistry, Place]]:
    registry = SlowRegistry(bytes_a_turn)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    server = await asyncio.start_server(registry, sock=listener)
    port = listener.getsockname()[1]
    try:
        yield registry, Place.parse(f"127.0.0.1:{port}/x", "--registry")
    finally:
        server.close()
        await registry.close()


@pytest.fixture
def short_deadlines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("_SECONDS", "_STALLED_SECONDS", "_STORING_SECONDS"):
        monkeypatch.setattr(registry_client, name, 1.0)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


async def test_a_registry_that_takes_nothing_more(folder: Path, short_deadlines: None) -> None:
    """It accepts an upload and then reads nothing: the push ends, and says where."""
    async with slow_registry(0) as (registry, place):
        with pytest.raises(CliError, match=r"PUT .*/v2/upload/1: nothing went on for 1 s"):
            await push(folder, read(folder), place, Access(), Console())
        assert registry.stuck.is_set()


async def test_a_slow_registry_is_waited_for(
    tmp_path: Path,
    short_deadlines: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As long as it takes something, and the user sees how far it is."""
    monkeypatch.setattr(pushing, "_TOLD_EVERY_SECONDS", 0.2)
    images = Layout(tmp_path / "layout")
    size = 24 << 20
    images.add("localhost/dapr/daprd:1", extra=secrets.token_bytes(size))
    folder = bundle(tmp_path / "bundle", images.folder)
    loop = asyncio.get_running_loop()
    async with slow_registry(1 << 19) as (registry, place):
        began = loop.time()
        await push(folder, read(folder), place, Access(), Console())
        assert loop.time() - began > 2.0
        assert registry.read_bytes > size
    assert len(re.findall(r"daprd: [\d.]+ MB of 25\.2 MB", capsys.readouterr().out)) > 2


async def test_an_image_has_a_deadline(folder: Path, place: Path) -> None:
    with ImageRegistry(place) as registry:
        where = Place.parse(f"{registry.place}/x", "--registry")
        with pytest.raises(CliError, match=r"was not pushed to .* within 0 s"):
            await push(folder, read(folder), where, Access(), Console(), 0)
