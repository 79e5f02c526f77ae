from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from harness.block_api import SERVICE, Answer, HttpApi, grpc_api, loaded, make_context

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import GrpcServer, Method
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import configuration_pb2 as pb
from dapr_sidecar.api.grpc.configuration import methods
from dapr_sidecar.api.http.configuration import routes
from dapr_sidecar.blocks.configuration import ConfigurationBlock
from dapr_sidecar.channel.base import AppUnhealthyError
from dapr_sidecar.channel.grpc import AppGrpcChannel
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.configuration.base import ConfigurationStore, Item, UpdateHandler

ROOT = "/v1.0/configuration"


class FakeStore(ConfigurationStore):
    def __init__(self) -> None:
        super().__init__(None, ComponentContext("cs", "app1"))
        self.items: dict[str, Item] = {}
        self.handlers: dict[str, UpdateHandler] = {}
        self.asked: list[tuple[Sequence[str], Mapping[str, str]]] = []
        self.failure: Exception | None = None

    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> dict[str, Item]:
        self.asked.append((keys, metadata))
        if self.failure:
            raise self.failure
        return {key: item for key, item in self.items.items() if not keys or key in keys}

    async def subscribe(
        self, keys: Sequence[str], metadata: Mapping[str, str], handler: UpdateHandler
    ) -> str:
        self.asked.append((keys, metadata))
        if self.failure:
            raise self.failure
        name = f"own-{len(self.asked)}"
        self.handlers[name] = handler
        return name

    async def unsubscribe(self, subscription_id: str) -> None:
        if self.failure:
            raise self.failure
        del self.handlers[subscription_id]

    async def update(self, **items: Item) -> None:
        for handler in list(self.handlers.values()):
            await handler(items)


class FakeAnswer:
    def __init__(self, status: int) -> None:
        self.status = status

    async def read(self) -> bytes:
        return b""


class FakeApp:
    kind = "http"

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes, list[Any], bytes]] = []
        self.status = 200
        self.sick = 0

    async def request(
        self, method: str, target: bytes, headers: list[Any], body: bytes
    ) -> FakeAnswer:
        if self.sick:
            self.sick -= 1
            raise AppUnhealthyError
        self.calls.append((method, target, headers, body))
        return FakeAnswer(self.status)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def block(store: FakeStore) -> ConfigurationBlock:
    found = ConfigurationBlock(make_context())
    found.context.components.configuration["cs"] = loaded("cs", store)
    return found


@pytest.fixture
def app(block: ConfigurationBlock) -> FakeApp:
    found = FakeApp()
    block.context.channel = found  # type: ignore[assignment]
    return found


@pytest.fixture
def api(block: ConfigurationBlock) -> HttpApi:
    return HttpApi(routes(block))


@pytest.fixture
async def client(block: ConfigurationBlock) -> AsyncIterator[GrpcChannel]:
    async with grpc_api(methods(block)) as channel:
        yield channel


async def get(api: HttpApi, path: str) -> Answer:
    return await api.call("GET", ROOT + path)


# --- reading ----------------------------------------------------------------------------------


async def test_get(api: HttpApi, store: FakeStore) -> None:
    store.items = {"b": Item("plain"), "a": Item("1", "2", {"m": "x"})}
    answer = await get(api, "/cs?key=a&key=b&metadata.k=v")
    assert answer.body == (
        b'{"a":{"value":"1","version":"2","metadata":{"m":"x"}},"b":{"value":"plain"}}\n'
    )
    assert store.asked == [(["a", "b"], {"k": "v"})]
    assert (await api.call("GET", "/v1.0-alpha1/configuration/cs")).json.keys() == {"a", "b"}


async def test_nothing_found(api: HttpApi) -> None:
    answer = await get(api, "/cs?key=a")
    assert (answer.status, answer.body) == (204, b"")


async def test_failures_of_the_store(api: HttpApi, store: FakeStore, app: FakeApp) -> None:
    store.failure = OSError("down")
    text = "[a b] from Configuration store cs: down"
    assert (await get(api, "/cs?key=a&key=b")).error == (
        500,
        "ERR_CONFIGURATION_GET",
        f"failed to get {text}",
    )
    assert (await get(api, "/cs/subscribe?key=a&key=b")).error == (
        500,
        "ERR_CONFIGURATION_SUBSCRIBE",
        f"failed to subscribe {text}",
    )


@pytest.mark.parametrize("path", ["?key=a", "/subscribe?key=a", "/id/unsubscribe"])
async def test_no_such_store(api: HttpApi, block: ConfigurationBlock, path: str) -> None:
    assert (await get(api, "/no" + path)).error == (
        400,
        "ERR_CONFIGURATION_STORE_NOT_FOUND",
        "configuration store no not found",
    )
    block.context.components.configuration.clear()
    assert (await get(api, "/no" + path)).error == (
        500,
        "ERR_CONFIGURATION_STORE_NOT_CONFIGURED",
        "configuration stores not configured",
    )


async def test_calls_are_counted(block: ConfigurationBlock, store: FakeStore) -> None:
    counted: list[Any] = []
    block.context.metrics.component = lambda *a: counted.append(a[:4])  # type: ignore[method-assign]
    await block.get("cs", [], {})
    await block.unsubscribe("cs", await block.subscribe("cs", [], {}, _ignore))
    assert counted == [
        ("configuration", "cs", name, True) for name in ("get", "subscribe", "unsubscribe")
    ]


async def _ignore(subscription_id: str, items: Mapping[str, Item]) -> None: ...


# --- updates to the app -----------------------------------------------------------------------


async def test_an_app_is_needed(api: HttpApi) -> None:
    assert (await get(api, "/cs/subscribe")).error == (
        500,
        "ERR_APP_CHANNEL_NIL",
        "app channel is not initialized. cannot subscribe to configuration updates",
    )


async def test_each_key_is_a_call(api: HttpApi, store: FakeStore, app: FakeApp) -> None:
    found = (await get(api, "/cs/subscribe?key=a&metadata.k=v")).json["id"]
    assert store.asked == [(["a"], {"k": "v"})]
    await store.update(**{"a b": Item("1", "2"), "gone": Item()})
    assert app.calls[0] == (
        "POST",
        b"/configuration/cs/a%20b",
        [(b"Content-Type", b"application/json")],
        b'{"id":"%s","items":{"a b":{"value":"1","version":"2"}}}\n' % found.encode(),
    )
    assert app.calls[1][3].endswith(b'"items":{"gone":{}}}\n')


async def test_what_the_app_refuses_is_dropped(
    api: HttpApi, store: FakeStore, app: FakeApp
) -> None:
    await get(api, "/cs/subscribe")
    app.status = 201
    await store.update(a=Item("1"))
    app.status = 200
    await store.update(a=Item("2"))
    assert len(app.calls) == 2


async def test_an_unhealthy_app_is_waited_for(
    api: HttpApi, store: FakeStore, app: FakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dapr_sidecar.blocks.configuration_app._UNHEALTHY_PAUSE", 0.001)
    await get(api, "/cs/subscribe")
    app.sick = 3
    await asyncio.wait_for(store.update(a=Item("1")), 30)
    assert len(app.calls) == 1


async def test_unsubscribe(api: HttpApi, store: FakeStore, app: FakeApp) -> None:
    found = (await get(api, "/cs/subscribe")).json["id"]
    answer = await get(api, f"/cs/{found}/unsubscribe")
    assert answer.json == {"ok": True}
    assert store.handlers == {}
    again = await get(api, f"/cs/{found}/unsubscribe")
    assert again.status == 500
    assert again.json == {
        "message": f"failed to unsubscribe to configuration request {found}: "
        f"subscription with id {found} does not exist"
    }


async def test_a_subscription_belongs_to_its_store(
    api: HttpApi, block: ConfigurationBlock, app: FakeApp
) -> None:
    other = FakeStore()
    block.context.components.configuration["other"] = loaded("other", other)
    found = (await get(api, "/cs/subscribe")).json["id"]
    assert (await get(api, f"/other/{found}/unsubscribe")).status == 500
    assert (await get(api, f"/cs/{found}/unsubscribe")).status == 200


async def test_a_reloaded_store_takes_the_subscriptions_over(
    api: HttpApi, block: ConfigurationBlock, store: FakeStore, app: FakeApp
) -> None:
    found = (await get(api, "/cs/subscribe?key=a")).json["id"]
    new = FakeStore()
    block.context.components.configuration["cs"] = loaded("cs", new)
    await block.component_changed("cs")
    assert store.handlers == {}
    assert new.asked == [(["a"], {})]
    await new.update(a=Item("1"))
    assert found.encode() in app.calls[0][3]
    del block.context.components.configuration["cs"]
    await block.component_changed("cs")
    assert new.handlers == {}


# --- gRPC -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", "Alpha1"])
async def test_grpc_get(client: GrpcChannel, store: FakeStore, suffix: str) -> None:
    store.items = {"b": Item("plain"), "a": Item("1", "2", {"m": "x"})}
    request = pb.GetConfigurationRequest(store_name="cs", keys=["b", "a"], metadata={"k": "v"})
    answer = await client.unary(
        f"{SERVICE}GetConfiguration{suffix}", request, pb.GetConfigurationResponse
    )
    assert answer.message.items["a"].metadata == {"m": "x"}
    assert answer.message.items["b"].value == "plain"
    assert store.asked == [(["a", "b"], {"k": "v"})]


async def test_grpc_errors(client: GrpcChannel, store: FakeStore) -> None:
    store.failure = OSError("down")
    for name, kind, code in (
        ("GetConfiguration", pb.GetConfigurationRequest, GrpcCode.INTERNAL),
        ("SubscribeConfiguration", pb.SubscribeConfigurationRequest, GrpcCode.INVALID_ARGUMENT),
    ):
        for where, expected in (("cs", code), ("no", GrpcCode.INVALID_ARGUMENT)):
            with pytest.raises(RpcError) as caught:
                await client.unary(
                    SERVICE + name,
                    kind(store_name=where, keys=["a"]),
                    pb.SubscribeConfigurationResponse,
                )
            assert caught.value.code is expected
    answer = await unsubscribe(client, "no", "x")
    assert (answer.ok, answer.message) == (False, "configuration store no not found")


async def unsubscribe(
    client: GrpcChannel, store: str, found: str
) -> pb.UnsubscribeConfigurationResponse:
    answer = await client.unary(
        SERVICE + "UnsubscribeConfiguration",
        pb.UnsubscribeConfigurationRequest(store_name=store, id=found),
        pb.UnsubscribeConfigurationResponse,
    )
    return answer.message  # type: ignore[no-any-return]


class Stream:
    """One subscription's stream, as a client sees it."""

    def __init__(self, call: Any) -> None:
        self.call = call

    @classmethod
    async def open(cls, client: GrpcChannel, name: str = "SubscribeConfiguration") -> Stream:
        call = await client.open(SERVICE + name)
        await call.send(pb.SubscribeConfigurationRequest(store_name="cs", keys=["b", "a"]))
        await call.half_close()
        return cls(call)

    async def next(self) -> pb.SubscribeConfigurationResponse:
        raw = await asyncio.wait_for(anext(self.call), 30)
        return pb.SubscribeConfigurationResponse.FromString(raw)

    async def end(self) -> None:
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(self.call), 30)


@pytest.mark.parametrize("suffix", ["", "Alpha1"])
async def test_a_stream_needs_no_app(client: GrpcChannel, store: FakeStore, suffix: str) -> None:
    stream = await Stream.open(client, "SubscribeConfiguration" + suffix)
    first = await stream.next()
    assert first.id
    assert not first.items
    assert store.asked == [(["a", "b"], {})]
    await store.update(a=Item("1", "2"))
    update = await stream.next()
    assert update.id == first.id
    assert update.items["a"].value == "1"
    assert (await unsubscribe(client, "cs", first.id)).ok
    await stream.end()
    again = await unsubscribe(client, "cs", first.id)
    assert not again.ok
    assert again.message.endswith(f"subscription with id {first.id} does not exist")
    assert store.handlers == {}


async def test_a_client_that_leaves_unsubscribes(client: GrpcChannel, store: FakeStore) -> None:
    stream = await Stream.open(client)
    await stream.next()
    stream.call.cancel()
    async with asyncio.timeout(30):
        while store.handlers:
            await asyncio.sleep(0.005)


async def test_a_slow_client_holds_the_store_up(client: GrpcChannel, store: FakeStore) -> None:
    stream = await Stream.open(client)
    await stream.next()
    big = Item("x" * 100_000)

    async def flood() -> None:
        for _ in range(200):
            await store.update(a=big)

    task = asyncio.ensure_future(flood())
    await asyncio.wait((task,), timeout=0.3)
    assert not task.done()
    for _ in range(200):
        await stream.next()
    await asyncio.wait_for(task, 30)
    stream.call.cancel()


async def test_drain_ends_streams(
    client: GrpcChannel, block: ConfigurationBlock, store: FakeStore
) -> None:
    stream = await Stream.open(client)
    await stream.next()
    await block.drain()
    await stream.end()
    assert store.handlers == {}


async def test_updates_to_a_grpc_app(
    block: ConfigurationBlock, store: FakeStore, api: HttpApi
) -> None:
    got: list[common_pb2.InvokeRequest] = []

    async def on_invoke(request: Any, context: Any) -> common_pb2.InvokeResponse:
        got.append(request)
        return common_pb2.InvokeResponse()

    server = GrpcServer(max_receive_bytes=1 << 20)
    kinds = (common_pb2.InvokeRequest, common_pb2.InvokeResponse)
    path = "/dapr.proto.runtime.v1.AppCallback/OnInvoke"
    server.add(Method(path, "unary_unary", *kinds, on_invoke))
    port = await server.listen_tcp("127.0.0.1", 0)
    channel = AppGrpcChannel(
        "127.0.0.1", port, tls=False, token="", max_concurrency=-1, max_message_bytes=1 << 20
    )
    block.context.channel = channel
    found = (await get(api, "/cs/subscribe")).json["id"]
    await store.update(a=Item("1"))
    assert got[0].method == "configuration/cs/a"
    assert got[0].data.value == b'{"id":"%s","items":{"a":{"value":"1"}}}\n' % found.encode()
    await channel.close()
    await server.close(0)
