"""The API server restarts, watches expire, operators restart."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from harness.operator_process import Operator, OperatorClient, OperatorStream
from harness.proxy import proxy

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.kube.api_errors import KubeError
from dapr_operator.kinds import COMPONENT, SERVICES


@pytest.mark.slow
async def test_the_api_server_restarts(place: Any, operator: Operator) -> None:
    """Sidecars keep what they have, and hear of changes soon after it is back."""
    await place.component("before")
    async with await place.sidecar(operator) as sidecar, sidecar.stream("Component") as stream:
        async with asyncio.timeout(30):
            while "before" not in await sidecar.components():
                await asyncio.sleep(0.01)
        restarting = asyncio.ensure_future(asyncio.to_thread(place.cluster.server.crash))
        while not restarting.done():
            assert "before" in await sidecar.components(), "served from the cache meanwhile"
            await asyncio.sleep(0.05)
        restarting.result()
        await _again(place.component, "after")
        event, body = await stream.next(40)
        while body["metadata"]["name"] != "after":
            event, body = await stream.next(40)
        assert event == "CREATED"
        assert operator.health() == 200
        await place.deployment("shop", "orders")
        await place.until(SERVICES, "orders-dapr", seconds=40)


@pytest.mark.slow
async def test_the_api_server_restarts_while_an_operator_begins_to_lead(place: Any) -> None:
    """A server that has just started does not tell of all its kinds yet: it is asked again."""
    async with place.operator(ready=False) as operator:
        await asyncio.to_thread(operator.wait_line, "This operator leads")
        await asyncio.to_thread(place.cluster.server.crash)
        await _again(place.deployment, "shop", "orders")
        await place.until(SERVICES, "orders-dapr", seconds=60)


@pytest.mark.slow
async def test_what_went_while_nobody_could_watch(place: Any) -> None:
    """The version to go on from is gone (410): a new list says what is gone with it."""
    for name in ("stays", "changes", "goes"):
        await place.component(name)
    server = urllib.parse.urlsplit(place.cluster.server.url)
    async with proxy(int(server.port or 0)) as line:
        way = place.cluster.server.folder / "through-a-proxy.kubeconfig"
        admin = place.cluster.server.admin.read_text()
        way.write_text(admin.replace(f":{server.port}", f":{line.port}"))
        async with (
            place.operator(kubeconfig=way) as operator,
            await place.sidecar(operator) as sidecar,
            sidecar.stream("Component") as stream,
        ):
            line.refuse()
            await place.cluster.client.delete(COMPONENT.kind, "goes", place.apps)
            await place.component("changes", [{"name": "a", "value": "2"}])
            await place.component("comes")
            await asyncio.to_thread(place.cluster.server.crash)  # its watch cache begins anew
            await _compact(place.cluster.server.etcd)
            assert set(await sidecar.components()) == {"stays", "changes", "goes"}
            await line.start()
            expected = {"goes": "DELETED", "changes": "UPDATED", "comes": "CREATED"}
            seen = {"stays": "CREATED"}  # a busy operator may tell the first list late
            while seen != {"stays": "CREATED", **expected}:
                event, body = await stream.next(60)
                seen[body["metadata"]["name"]] = event
            assert "components are listed again: watch components: too old" in operator.log
            assert set(await sidecar.components()) == {"stays", "changes", "comes"}
            await _again(place.deployment, "shop", "orders")
            await place.until(SERVICES, "orders-dapr", seconds=60)


async def _compact(etcd: str) -> None:
    """Forget every version but the newest, as the API server does every five minutes."""

    def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(f"{etcd}/v3/kv/{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return dict(json.load(answer))

    def compact() -> None:
        found = post("range", {"key": "AA=="})
        post("compaction", {"revision": found["header"]["revision"], "physical": True})

    await asyncio.to_thread(compact)


async def _again(apply: Any, *arguments: Any) -> None:
    """The test's own client may find the server not ready for a moment."""
    async with asyncio.timeout(40):
        while True:
            try:
                await apply(*arguments)
                return
            except KubeError:
                await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_the_operator_restarts_mid_stream(place: Any) -> None:
    first = place.operator(exit_code=None)
    async with first:
        sidecar = await place.sidecar(first)
        async with sidecar, sidecar.stream("Component") as stream:
            first.signal(signal.SIGKILL)
            with pytest.raises(RpcError) as caught:
                await stream.next()
            assert caught.value.code == GrpcCode.UNAVAILABLE
            await asyncio.to_thread(first.wait_exit)
            await place.component("meanwhile")
            async with place.operator(port=first.port):
                began = time.monotonic()
                async with _again_connected(sidecar) as stream:
                    assert "meanwhile" in await sidecar.components()
                    await place.component("after")
                    event, body = await stream.next()
                    while body["metadata"]["name"] != "after":
                        event, body = await stream.next()
                    assert event == "CREATED"
                assert time.monotonic() - began < 20, "a line that is back is soon used"


@asynccontextmanager
async def _again_connected(sidecar: OperatorClient) -> AsyncIterator[OperatorStream]:
    """A stream as soon as there is one to be had."""
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(40):
            while True:
                try:
                    stream = await stack.enter_async_context(sidecar.stream("Component"))
                    break
                except RpcError:
                    await asyncio.sleep(0.05)
        yield stream
