"""The webhook over real TLS. What the cluster says is scripted; nothing else is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from harness.authorities import Authority

from dapr_common.http.messages import Request, Response
from dapr_common.kube.api_errors import UnreachableError
from dapr_common.kube.events import Subject
from dapr_common.kube.webhook_server import WebhookServer
from dapr_common.observe.metrics import Registry
from dapr_common.security.tls import TlsContexts
from dapr_injector.admission import Candidate
from dapr_injector.callers import Callers
from dapr_injector.injection import Facts
from dapr_injector.metrics import InjectorMetrics
from dapr_injector.reports import Reports
from dapr_injector.settings import Settings
from dapr_injector.webhook import PATH, Webhook

POD = {
    "metadata": {
        "name": "orders-1",
        "annotations": {"dapr.io/enabled": "true", "dapr.io/app-id": "orders"},
    },
    "spec": {"containers": [{"name": "app"}]},
}
INJECTOR = "spiffe://cluster.local/ns/dapr-system/dapr-injector"


class ScriptedCluster:
    """Answers with ``facts``, or raises ``error``; waits for ``go`` when there is one."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.go: asyncio.Event | None = None
        self.asked = asyncio.Event()

    async def facts(self, candidate: Candidate) -> Facts:
        self.asked.set()
        if self.go is not None:
            await self.go.wait()
        if self.error is not None:
            raise self.error
        return Facts(trust_anchors="PEM")


class Told:
    """Stands for the recorder of events: what would have been told."""

    def __init__(self) -> None:
        self.events: list[tuple[Subject, str, str]] = []

    def report(self, subject: Subject, reason: str, message: str) -> None:
        self.events.append((subject, reason, message))


class Served:
    def __init__(self, settings: Settings) -> None:
        self.authority = Authority.root().intermediate()
        self.contexts = TlsContexts()
        self.contexts.install(self.authority.svid(INJECTOR, kind="rsa"))
        self.cluster, self.registry, self.told = ScriptedCluster(), Registry(), Told()
        events: Any = self.told
        self.webhook = Webhook(
            settings,
            Callers(settings.allowed_accounts),
            self.cluster,
            Reports(InjectorMetrics(self.registry), events),
        )
        self.server = WebhookServer({PATH: self.webhook.handle}, self.contexts, leave_seconds=0.2)
        self.port = 0

    @property
    def metrics(self) -> str:
        return self.registry.render().decode()

    async def connect(
        self, tls: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if tls is None:
            pem = self.authority.top().public_bytes(Encoding.PEM).decode()
            tls = ssl.create_default_context(cadata=pem)
            tls.check_hostname = False
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=tls, server_hostname="")

    async def ask(
        self, body: bytes, *, method: str = "POST", path: str = "/mutate", **headers: str
    ) -> Reply:
        reader, writer = await self.connect()
        try:
            return await exchange(reader, writer, body, method=method, path=path, **headers)
        finally:
            await end(writer)


class Reply:
    def __init__(self, head: bytes, body: bytes) -> None:
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])
        }
        self.body = body

    @property
    def response(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)["response"]
        return found


async def end(writer: asyncio.StreamWriter) -> None:
    """Over TLS that takes some exchanges; what is left over would be collected in another test."""
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()


async def exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    body: bytes,
    *,
    method: str = "POST",
    path: str = "/mutate",
    **headers: str,
) -> Reply:
    given = {"content_type": "application/json", **headers}
    lines = [f"{method} {path}?timeout=10s HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in given.items()]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    head = await reader.readuntil(b"\r\n\r\n")
    reply = Reply(head.rstrip(), b"")
    reply.body = await reader.readexactly(int(reply.headers["content-length"]))
    return reply


@pytest.fixture
async def served(make_settings: Callable[..., Settings]) -> AsyncIterator[Served]:
    found = Served(make_settings())
    found.port = await found.server.open("127.0.0.1", 0)
    try:
        yield found
    finally:
        await found.server.close()


async def test_a_pod_is_answered_with_a_patch(
    served: Served, make_body: Callable[..., bytes]
) -> None:
    reply = await served.ask(make_body(POD))
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.response["allowed"] is True
    assert reply.response["patchType"] == "JSONPatch"
    assert 'dapr_injector_sidecar_injection_succeeded_total{app_id="orders"} 1' in served.metrics
    assert "dapr_injector_sidecar_injection_requests_total 1" in served.metrics
    assert served.told.events == []


@pytest.mark.parametrize(
    ("asked", "status", "text"),
    [
        ({"path": "/"}, 404, "404 page not found"),
        ({"method": "GET", "body": b""}, 405, "use POST"),
        ({"body": b""}, 400, "empty body"),
        ({"content_type": "text/plain"}, 415, "invalid Content-Type, expected `application/json`"),
        ({"content_type": "application/json; charset=utf-8"}, 415, "invalid Content-Type"),
        ({"body": b"x" * (9 << 20)}, 413, "the body is larger than any review"),
    ],
)
async def test_what_is_no_request_for_admission(
    served: Served, asked: dict[str, Any], status: int, text: str
) -> None:
    body = asked.pop("body", b"{}")
    reply = await served.ask(body, **asked)
    assert reply.status == status
    assert reply.body.decode().startswith(text)


async def test_bodies_take_a_bounded_memory_together(served: Served) -> None:
    """Nobody has to prove who it is here: stalled bodies must not add up."""
    go_on = asyncio.Event()
    reading = asyncio.Semaphore(0)

    async def slow(request: Request) -> Response:
        body = await request.read()
        reading.release()
        await go_on.wait()
        return Response(200, [], str(len(body)).encode())

    server = WebhookServer({PATH: slow}, served.contexts, max_held_bytes=3 << 20)
    served.port = await server.open("127.0.0.1", 0)
    try:
        megabyte = b"x" * (1 << 20)
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            first = [tasks.create_task(served.ask(megabyte)) for _ in range(3)]
            for _ in first:
                await reading.acquire()
            reply = await served.ask(b"{}" + megabyte)
            assert (reply.status, reply.body) == (503, b"too much is sent at a time\n")
            assert reply.headers["connection"] == "close"
            go_on.set()
        assert [task.result().body for task in first] == [b"1048576"] * 3
        assert (await served.ask(megabyte * 3)).body == b"3145728", "all is given back"
    finally:
        await server.close()


async def test_a_body_that_does_not_come_is_not_waited_for(served: Served) -> None:
    async def never(request: Request) -> Response:
        raise AssertionError("there was no request")

    server = WebhookServer({PATH: never}, served.contexts, body_seconds=0.1, leave_seconds=0)
    served.port = await server.open("127.0.0.1", 0)
    try:
        reader, writer = await served.connect()
        writer.write(b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        async with asyncio.timeout(10):
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        await end(writer)
    finally:
        await server.close()


async def test_what_is_no_review_is_refused(served: Served) -> None:
    reply = await served.ask(b'{"kind":"Pod"}')
    assert reply.status == 200
    assert reply.response["allowed"] is False
    assert "AdmissionReview" in reply.response["status"]["message"]
    failed = 'dapr_injector_sidecar_injection_failed_total{app_id="",reason="patch"} 1'
    assert failed in served.metrics


async def test_a_cluster_that_cannot_be_asked_stops_the_pod(
    served: Served, make_body: Callable[..., bytes]
) -> None:
    served.cluster.error = UnreachableError("list components in default: no answer within 7s")
    reply = await served.ask(make_body(POD))
    message = reply.response["status"]["message"]
    assert message.endswith("list components in default: no answer within 7s")
    [(subject, reason, told)] = served.told.events
    assert (subject.kind, subject.name, reason) == ("Namespace", "default", "DaprInjectionFailed")
    assert told == f"no sidecar for pod default/orders-1: {message}"


async def test_a_defect_is_left_to_the_failure_policy(
    served: Served, make_body: Callable[..., bytes]
) -> None:
    served.cluster.error = RuntimeError("a defect")
    reply = await served.ask(make_body(POD))
    assert reply.status == 500
    assert b"defect" not in reply.body
    failed = 'dapr_injector_sidecar_injection_failed_total{app_id="",reason="response"} 1'
    assert failed in served.metrics
    served.cluster.error = None
    assert (await served.ask(make_body(POD))).response["allowed"] is True


async def test_a_caller_that_does_not_wait_is_counted(
    served: Served, make_body: Callable[..., bytes]
) -> None:
    served.cluster.go = asyncio.Event()
    reader, writer = await served.connect()
    asking = asyncio.create_task(exchange(reader, writer, make_body(POD)))
    await served.cluster.asked.wait()
    writer.transport.abort()
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        await asking
    async with asyncio.timeout(30):
        while 'reason="write_response"} 1' not in served.metrics:
            await asyncio.sleep(0.01)


async def test_the_certificate_is_swapped_under_an_open_connection(
    served: Served, make_body: Callable[..., bytes]
) -> None:
    def serial(writer: asyncio.StreamWriter) -> int:
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(der).serial_number

    reader, writer = await served.connect()
    await exchange(reader, writer, make_body(POD))
    served.contexts.install(served.authority.svid(INJECTOR, kind="rsa"))
    assert (await exchange(reader, writer, make_body(POD))).status == 200
    _, second = await served.connect()
    assert serial(second) != serial(writer)
    for open_one in (writer, second):
        await end(open_one)


async def test_old_tls_is_refused(served: Served) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await served.connect(tls)


async def test_the_end_waits_for_callers(served: Served, make_body: Callable[..., bytes]) -> None:
    served.server._leave_seconds = 2.0  # long enough for the second one's handshake
    served.cluster.go = asyncio.Event()
    reader, writer = await served.connect()
    first = asyncio.create_task(exchange(reader, writer, make_body(POD)))
    await served.cluster.asked.wait()
    closing = asyncio.create_task(served.server.close())
    await asyncio.sleep(0)
    # Whoever has not heard of the end yet is served, and asked to go elsewhere.
    served.cluster.asked.clear()
    second = asyncio.create_task(served.ask(make_body(POD)))
    await served.cluster.asked.wait()
    served.cluster.go.set()
    for reply in (await first, await second):
        assert reply.response["allowed"] is True
        assert reply.headers["connection"] == "close"
    await closing
    with pytest.raises(ConnectionError):
        await served.connect()
    await end(writer)
