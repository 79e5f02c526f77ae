"""Which calls have which policy: a real sidecar whose components and whose app do not answer.

All targets have a timeout and one retry, so every call that is under them ends after two timeouts.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import grpc.aio
import pytest
from harness.http_call import acall
from harness.local_app import LocalApp, Seen
from harness.placement_process import Placement
from harness.proxy import Proxy, proxy
from harness.redis_server import RedisServer, is_available, redis_server
from harness.sidecar import Manifest, Sidecar, component, resource
from integration.resiliency.counts import counts, wait_count

from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import (
    binding_pb2,
    configuration_pb2,
    invoke_pb2,
    lock_pb2,
    pubsub_pb2,
    secret_pb2,
    state_pb2,
)

pytestmark = pytest.mark.slow
API = "/dapr.proto.runtime.v1.Dapr/"
URL = "http://127.0.0.1:1"
# Some of their calls are to go well, on a busy machine, too.
WORKING = ("settings", "actors")
SILENT = (
    *("POST /event", "POST /tick", "POST /configuration/settings/k", "POST /slow"),
    *("PUT /actors/T/1/method/slow", "PUT /actors/T/1/method/remind/r"),
)


@dataclass
class World:
    sidecar: Sidecar
    app: LocalApp
    redis: RedisServer
    line: Proxy
    grpc: grpc.aio.Channel

    async def http(self, method: str, path: str, body: object = None, **headers: str) -> int:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await acall(self.sidecar.http_port, method, path, body, given)).status

    async def call(self, method: str, request: Any = b"", **metadata: str) -> grpc.StatusCode:
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        pairs = [(name.replace("_", "-"), value) for name, value in metadata.items()]
        unary = self.grpc.unary_unary(method if "/" in method else API + method)
        try:
            await unary(raw, metadata=pairs, timeout=30)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK


def resources(redis: str, aws_port: int) -> list[Manifest]:
    endpoint = f"http://127.0.0.1:{aws_port}"
    aws = {"endpoint": endpoint, "region": "r", "accessKey": "a", "secretKey": "s"}
    names = {
        "store": "state.redis",
        "events": "pubsub.redis",
        "ledger": "bindings.redis",
        "settings": "configuration.redis",
        "locks": "lock.redis",
    }
    # So long that only the policies' timeouts end a call.
    patient = {"redisHost": redis, "readTimeout": "60s", "redeliverInterval": "0"}
    return [
        *(component(name, kind, **patient) for name, kind in names.items()),
        component("actors", "state.redis", actorStateStore=True, **patient),
        component("safe", "secretstores.aws.secretmanager", **aws),
        component("keys", "crypto.aws.kms", **aws),
        component("tick", "bindings.cron", schedule="@every 1s", direction="input"),
        resource("Resiliency", "all", policies([*names, "actors", "safe", "keys", "tick"])),
    ]


def policies(components: list[str]) -> dict[str, Any]:
    both = {"timeout": "t", "retry": "r"}
    patient = {"timeout": "patient", "retry": "r"}
    return {
        "policies": {
            "timeouts": {"t": "200ms", "patient": "2s"},
            "retries": {"r": {"policy": "constant", "duration": "10ms", "maxRetries": 1}},
        },
        "targets": {
            "apps": {"me": both, "nowhere": both, URL: patient},
            "actors": {"T": both},
            "components": {
                name: {"inbound": both, "outbound": patient if name in WORKING else both}
                for name in components
            },
        },
    }


@pytest.fixture
async def world() -> AsyncIterator[World]:
    if not is_available():
        pytest.skip("redis-server is not installed")
    forever = asyncio.Event()

    async def hang(_: Seen) -> int:
        await forever.wait()
        return 200

    routes = {
        "GET /dapr/config": (200, {"entities": ["T"]}),
        "GET /dapr/subscribe": (200, [{"pubsubname": "events", "topic": "t", "route": "/event"}]),
        "PUT /actors/T/1/method/hello": 200,
        **dict.fromkeys(SILENT, hang),
    }
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(redis_server())
        line = await stack.enter_async_context(proxy(redis.port))
        app = await stack.enter_async_context(LocalApp(routes))
        aws = await stack.enter_async_context(LocalApp({"POST /": (200, {"SecretList": []})}))
        stack.callback(forever.set)
        placement = await stack.enter_async_context(Placement())
        sidecar = Sidecar(
            "me",
            resources=resources(line.address, aws.port),
            app_port=app.port,
            flags=[f"--placement-host-address={placement.address}"],
        )
        await stack.enter_async_context(sidecar)
        aws.routes["POST /"] = hang
        stack.callback(line.release)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(sidecar.grpc_address))
        yield World(sidecar, app, redis, line, channel)


def under(flow: str, target: str) -> Counter[str]:
    """A call that was looked up once, timed out twice and was retried once."""
    where = f"{flow} {target}"
    return Counter(
        {
            f"count timeout {where}": 1,
            f"count retry {where}": 1,
            f"activations timeout {where}": 2,
            f"activations retry {where}": 1,
        }
    )


class Table:
    """Makes calls and keeps what each did to the counts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.found: dict[str, Counter[str]] = {}
        self.expected: dict[str, Counter[str]] = {}

    async def counts(self) -> Counter[str]:
        """All but those of what works by itself: a cron binding, a broker, reminders' store."""
        found = await asyncio.to_thread(counts, self._world.sidecar)
        busy = ("Binding_tick", "inbound Pubsub_events", "Statestore_actors")
        return Counter({key: number for key, number in found.items() if not key.endswith(busy)})

    async def row(self, name: str, call: Any, expected: Counter[str]) -> None:
        before = await self.counts()
        await call
        self.found[name] = await self.counts() - before
        self.expected[name] = expected

    async def row_at_least(self, name: str, call: Any, expected: Counter[str]) -> None:
        """Something else may count the same meanwhile."""
        before = await asyncio.to_thread(counts, self._world.sidecar)
        await call
        after = await asyncio.to_thread(counts, self._world.sidecar)
        self.found[name] = (after - before) & expected
        self.expected[name] = expected


async def test_every_call_of_the_table(world: World) -> None:
    table = Table(world)
    await table.row("start-up and discovery", asyncio.sleep(0), Counter())
    assert await table.counts() == Counter()
    await inbound(world, table)
    await apps(world, table)
    subscription = await acall(
        world.sidecar.http_port, "GET", "/v1.0/configuration/settings/subscribe?key=other"
    )
    await world.http("POST", "/v1.0/actors/T/1/method/hello")
    world.line.hold()
    await components_over_http(world, table, subscription.json["id"])
    await components_over_grpc(world, table)
    world.line.release()
    assert table.found == table.expected
    # An input binding delivers by itself, again and again.
    for word, policy in (
        ("count", "timeout"),
        ("activations", "timeout"),
        ("activations", "retry"),
    ):
        await wait_count(world.sidecar, f"{word} {policy} inbound Binding_tick", 1)


async def inbound(world: World, table: Table) -> None:
    async def event() -> None:
        event = {"id": "1", "source": "s", "type": "t", "specversion": "1.0", "data": 1}
        world.redis.call("XADD", "t", "*", "data", json.dumps(event))
        await wait_count(world.sidecar, "activations timeout inbound Pubsub_events", 2)

    async def update() -> None:
        world.redis.call("SET", "k", "v||1")
        what = "activations timeout inbound Configuration_settings"
        await wait_count(world.sidecar, what, 2)

    await table.row_at_least("pub/sub delivery", event(), under("inbound", "Pubsub_events"))
    path = "/v1.0/configuration/settings/subscribe?key=k"
    subscribed = {
        f"count {policy} outbound Configuration_settings": 1 for policy in ("timeout", "retry")
    }
    await table.row("subscribe", world.http("GET", path), Counter(subscribed))
    expected = under("inbound", "Configuration_settings")
    await table.row("configuration update", update(), expected)


async def apps(world: World, table: Table) -> None:
    async def remind() -> None:
        path = "/v1.0/actors/T/1/reminders/r"
        assert await world.http("POST", path, {"dueTime": "0s"}) == 204
        await wait_count(world.sidecar, "activations timeout outbound actor_T", before + 1)

    me = under("outbound", "app_me")
    await table.row("invoke", world.http("POST", "/v1.0/invoke/me/method/slow", b""), me)
    message = common_pb2.InvokeRequest(method="slow", http_extension={"verb": 3})
    request = invoke_pb2.InvokeServiceRequest(id="me", message=message)
    await table.row("InvokeService", world.call("InvokeService", request), me)
    # Nobody is there: both attempts fail before their time is over.
    refused = Counter(
        {
            f"{word} outbound app_{URL}": 1
            for word in ("count timeout", "count retry", "activations retry")
        }
    )
    await table.row("invoke a URL", world.http("GET", f"/v1.0/invoke/{URL}/method/x"), refused)
    # Its name cannot be resolved within the time there is.
    call = world.call("/my.Service/Say", b"", dapr_app_id="nowhere")
    await table.row("proxy", call, under("outbound", "app_nowhere"))
    call = world.call("/my.Service/Say", b"", dapr_app_id="me")
    await table.row("proxy to the own app", call, Counter())
    path = "/v1.0/actors/T/1/method/slow"
    # The timeout is looked up by each attempt, after the lock.
    actor = under("outbound", "actor_T") + Counter({"count timeout outbound actor_T": 1})
    await table.row("actor method", world.http("POST", path), actor)
    what = "activations timeout outbound actor_T"
    before = (await table.counts())[what]
    await table.row("reminder", remind(), Counter())
    # Only the timeout; how often it is tried again is another matter.
    table.found["reminder"] = Counter(set(table.found["reminder"]))
    table.expected["reminder"] = Counter([what, "count timeout outbound actor_T"])
    await world.http("DELETE", "/v1.0/actors/T/1/reminders/r")


async def components_over_http(world: World, table: Table, subscription: str) -> None:
    def out(target: str) -> Counter[str]:
        return under("outbound", target)

    http, row = world.http, table.row
    one, store = [{"key": "k", "value": 1}], out("Statestore_store")
    await row("get", http("GET", "/v1.0/state/store/k"), store)
    await row("save", http("POST", "/v1.0/state/store", one), store)
    await row("delete", http("DELETE", "/v1.0/state/store/k"), store)
    await row("bulk get", http("POST", "/v1.0/state/store/bulk", {"keys": ["a", "b"]}), store)
    operations = {"operations": [{"operation": "upsert", "request": one[0]}]}
    await row("transaction", http("POST", "/v1.0/state/store/transaction", operations), store)
    await row("publish", http("POST", "/v1.0/publish/events/x", 1), out("Pubsub_events"))
    entries = [{"entryId": "1", "event": "e", "contentType": "text/plain"}]
    path = "/v1.0/publish/bulk/events/x"
    await row("bulk publish", http("POST", path, entries), out("Pubsub_events"))
    create = {"operation": "create", "data": 1, "metadata": {"key": "k"}}
    await row("binding", http("POST", "/v1.0/bindings/ledger", create), out("Binding_ledger"))
    path = "/v1.0/configuration/settings"
    await row("configuration", http("GET", f"{path}?key=k"), out("Configuration_settings"))
    call = http("GET", f"{path}/{subscription}/unsubscribe")
    looked = [f"count {policy} outbound Configuration_settings" for policy in ("timeout", "retry")]
    await row("unsubscribe", call, Counter(looked))
    lock = {"resourceId": "r", "lockOwner": "o", "expiryInSeconds": 5}
    await row("lock", http("POST", "/v1.0-alpha1/lock/locks", lock), out("Lock_locks"))
    await row("unlock", http("POST", "/v1.0-alpha1/unlock/locks", lock), out("Lock_locks"))
    await row("secret", http("GET", "/v1.0/secrets/safe/s"), out("Secretstore_safe"))
    await row("secrets", http("GET", "/v1.0/secrets/safe/bulk"), out("Secretstore_safe"))
    call = http(
        "PUT",
        "/v1.0-alpha1/crypto/keys/encrypt",
        b"text",
        dapr_key_name="k",
        dapr_key_wrap_algorithm="A256KW",
    )
    await row("encrypt", call, out("Crypto_keys"))
    actors = out("Statestore_actors")
    await table.row_at_least("actor state", http("GET", "/v1.0/actors/T/1/state/k"), actors)
    changes = [{"operation": "upsert", "request": {"key": "k", "value": 1}}]
    await table.row_at_least(
        "actor transaction", http("POST", "/v1.0/actors/T/1/state", changes), actors
    )


async def components_over_grpc(world: World, table: Table) -> None:
    async def row(name: str, request: Any, target: str) -> None:
        await table.row(name, world.call(name, request), under("outbound", target))

    item = common_pb2.StateItem(key="k", value=b"1")
    store = {"store_name": "store"}
    await row("GetState", state_pb2.GetStateRequest(key="k", **store), "Statestore_store")
    request = state_pb2.SaveStateRequest(states=[item], **store)
    await row("SaveState", request, "Statestore_store")
    await row("DeleteState", state_pb2.DeleteStateRequest(key="k", **store), "Statestore_store")
    request = state_pb2.DeleteBulkStateRequest(states=[item], **store)
    await row("DeleteBulkState", request, "Statestore_store")
    published = pubsub_pb2.PublishEventRequest(pubsub_name="events", topic="x", data=b"1")
    await row("PublishEvent", published, "Pubsub_events")
    invoked = binding_pb2.InvokeBindingRequest(
        name="ledger", operation="get", metadata={"key": "k"}
    )
    await row("InvokeBinding", invoked, "Binding_ledger")
    secret = secret_pb2.GetSecretRequest(store_name="safe", key="s")
    await row("GetSecret", secret, "Secretstore_safe")
    asked = configuration_pb2.GetConfigurationRequest(store_name="settings", keys=["k"])
    await row("GetConfiguration", asked, "Configuration_settings")
    lock = lock_pb2.TryLockRequest(
        store_name="locks", resource_id="r", lock_owner="o", expiry_in_seconds=5
    )
    await row("TryLockAlpha1", lock, "Lock_locks")
    unlock = lock_pb2.UnlockRequest(store_name="locks", resource_id="r", lock_owner="o")
    await row("UnlockAlpha1", unlock, "Lock_locks")
    await row(
        "GetBulkSecret", secret_pb2.GetBulkSecretRequest(store_name="safe"), "Secretstore_safe"
    )
    bulk = state_pb2.GetBulkStateRequest(keys=["a", "b"], **store)
    await row("GetBulkState", bulk, "Statestore_store")
    operation = state_pb2.TransactionalStateOperation(operationType="upsert", request=item)
    changes = state_pb2.ExecuteStateTransactionRequest(storeName="store", operations=[operation])
    await row("ExecuteStateTransaction", changes, "Statestore_store")
    entry = pubsub_pb2.BulkPublishRequestEntry(entry_id="1", event=b"1", content_type="text/plain")
    batch = pubsub_pb2.BulkPublishRequest(pubsub_name="events", topic="x", entries=[entry])
    await row("BulkPublishEvent", batch, "Pubsub_events")
