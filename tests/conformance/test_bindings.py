"""What every binding promises, run against each of them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from harness.broker_preparations import PREPARATIONS
from harness.component_table import Maker, until

from dapr_common.http.messages import Request, Response
from dapr_common.http.server import HttpServer
from dapr_sidecar.components.bindings.base import (
    Event,
    InputBinding,
    InvokeRequest,
    InvokeResponse,
    OutputBinding,
)

KIND = "bindings"
WAIT = 40.0  # a consumer group forms within seconds, on a busy machine in some more


@pytest.fixture
async def target(maker: Maker) -> AsyncIterator[list[str]]:
    """An HTTP server for those that speak to one; lists the verbs it saw."""
    seen: list[str] = []

    async def handle(request: Request) -> Response:
        seen.append(request.method)
        return Response(200, [], await request.read())

    server = HttpServer(handle, max_body_bytes=1 << 20, max_header_bytes=8192)
    maker.variables["http"] = f"http://127.0.0.1:{await server.listen_tcp('127.0.0.1', 0)}"
    yield seen
    await maker.close()
    await server.close(0)


@pytest.fixture
async def binding(maker: Maker, target: list[str]) -> Any:
    maker.variables["unique"] = f"q-{uuid.uuid4().hex[:8]}"
    if prepare := PREPARATIONS.get(maker.entry["type"]):
        await prepare(maker)
    return await maker.component()


@pytest.fixture
def output(maker: Maker, binding: Any) -> OutputBinding:
    if not maker.entry.get("operations"):
        pytest.skip("takes no operations")
    return cast(OutputBinding, binding)


@pytest.fixture
async def events(maker: Maker, binding: Any) -> AsyncIterator[InputBinding]:
    if not maker.entry.get("events"):
        pytest.skip("brings no events")
    feeding = asyncio.ensure_future(_feed(binding)) if maker.entry.get("operations") else None
    yield cast(InputBinding, binding)
    if feeding is not None:
        feeding.cancel()
        await asyncio.wait((feeding,))


async def _feed(binding: OutputBinding) -> None:
    """What comes in is what goes out: the binding's own operation brings its events."""
    number = 0
    while True:
        number += 1
        await binding.invoke(InvokeRequest("create", b"%d" % number))
        await asyncio.sleep(0.2)


# --- operations -------------------------------------------------------------------------------


async def test_what_it_says_it_can_do(maker: Maker, binding: Any) -> None:
    operations = maker.entry.get("operations", [])
    assert isinstance(binding, OutputBinding) == bool(operations)
    assert list(getattr(binding, "operations", ())) == operations
    assert isinstance(binding, InputBinding) == maker.entry.get("events", False)


@pytest.fixture
def keyed(maker: Maker, output: OutputBinding) -> str:
    if "key" not in maker.entry:
        pytest.skip("keeps no items")
    return str(maker.entry["key"])


async def call(
    binding: OutputBinding, operation: str, data: bytes = b"", **metadata: str
) -> InvokeResponse | None:
    return await binding.invoke(InvokeRequest(operation, data, metadata))


@pytest.mark.parametrize("data", [b"text", b"\x00\xff", b"x" * 100_000])
async def test_create_get_delete(output: OutputBinding, keyed: str, data: bytes) -> None:
    where = {keyed: "an item"}
    await call(output, "create", data, **where)
    found = await call(output, "get", **where)
    assert found is not None
    assert found.data == data
    await call(output, "create", b"other", **where)
    found = await call(output, "get", **where)
    assert found is not None
    assert found.data == b"other"
    await call(output, "delete", **where)
    try:
        found = await call(output, "get", **where)
    except FileNotFoundError:
        return
    assert found is not None
    assert found.data == b""


async def test_an_item_must_be_named(output: OutputBinding, keyed: str) -> None:
    for operation in ("get", "delete"):
        with pytest.raises(ValueError, match=keyed):
            await call(output, operation)


async def test_many_at_once(output: OutputBinding, keyed: str) -> None:
    await asyncio.gather(
        *(call(output, "create", b"%d" % n, **{keyed: f"item {n}"}) for n in range(50))
    )
    found = await asyncio.gather(*(call(output, "get", **{keyed: f"item {n}"}) for n in range(50)))
    assert [one.data for one in found if one] == [b"%d" % n for n in range(50)]


async def test_an_unknown_operation(maker: Maker, output: OutputBinding) -> None:
    metadata = {maker.entry["key"]: "x"} if "key" in maker.entry else {}
    with pytest.raises(ValueError, match="no such"):
        await call(output, "no such", **metadata)


async def test_requests(maker: Maker, output: OutputBinding, target: list[str]) -> None:
    if maker.entry["type"] != "bindings.http":
        pytest.skip("sends no requests")
    for operation in output.operations:
        await call(output, operation)
    assert target == [
        {"create": "POST"}.get(operation, operation.upper()) for operation in output.operations
    ]
    answer = await call(output, "post", b"body")
    assert answer is not None
    assert answer.data == b"body"


# --- events -----------------------------------------------------------------------------------


class Inbox:
    def __init__(self) -> None:
        self.got: list[Event] = []
        self.running = 0
        self.gate: asyncio.Event | None = None

    async def __call__(self, event: Event) -> None:
        self.running += 1
        try:
            if self.gate is not None:
                await self.gate.wait()
            self.got.append(event)
            if len(self.got) == 1:
                raise RuntimeError("the app is not in the mood")
        finally:
            self.running -= 1


async def test_events_come_until_it_is_stopped(events: InputBinding) -> None:
    inbox = Inbox()
    await events.start(inbox)
    await until(lambda: len(inbox.got) >= 2, WAIT)  # the first one failed; that ends nothing
    await events.stop()
    seen = len(inbox.got)
    await asyncio.sleep(1.2)
    assert len(inbox.got) == seen
    await events.start(inbox)
    await until(lambda: len(inbox.got) > seen, WAIT)
    await events.stop()
    await events.stop()


async def test_stop_waits_for_what_runs(events: InputBinding) -> None:
    inbox = Inbox()
    inbox.gate = asyncio.Event()
    await events.start(inbox)
    await until(lambda: inbox.running, WAIT)
    stopping = asyncio.ensure_future(events.stop())
    await asyncio.wait((stopping,), timeout=0.05)
    assert not stopping.done()
    inbox.gate.set()
    await asyncio.wait_for(stopping, WAIT)
    assert inbox.got


async def test_closed_twice(binding: Any) -> None:
    await binding.ping()
    await binding.close()
    await binding.close()
