"""The outbox of sidecars that share a durable broker and a store, both in files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from harness.block_api import SERVICE, HttpApi, grpc_api, loaded, make, make_context

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.kube import resources
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import state_pb2
from dapr_sidecar.api.grpc.state import methods
from dapr_sidecar.api.http.state import routes
from dapr_sidecar.blocks.pubsub.publish import Prepared, PubSubBlock
from dapr_sidecar.blocks.pubsub.scopes import TopicScopes
from dapr_sidecar.blocks.state.block import StateBlock
from dapr_sidecar.blocks.state.outbox import TransactionalOutbox
from dapr_sidecar.blocks.state.outbox_delivery import OutboxDelivery
from dapr_sidecar.blocks.state.outbox_relay import Waits
from dapr_sidecar.blocks.state.rules import OutboxSettings, StoreRules
from dapr_sidecar.components.pubsub.base import Message
from dapr_sidecar.components.pubsub.sqlite import SqlitePubSub
from dapr_sidecar.components.state.base import (
    GetRequest,
    SetRequest,
    TransactionOperation,
)
from dapr_sidecar.components.state.sqlite import SqliteStateStore

QUICK = Waits(first=0.05, interval=0.01, factor=2, longest=0.02, total=0.05)
INNER = "defaultapp1ordersoutbox"


class Store(SqliteStateStore):
    """A store whose next transaction can be made to hang, or to fail once it was executed."""

    gate: asyncio.Event | None = None
    lost_answers = 0
    max_operations = 6

    async def transact(
        self, operations: Sequence[TransactionOperation], metadata: Mapping[str, str]
    ) -> None:
        if self.gate is not None:
            await self.gate.wait()
        await super().transact(operations, metadata)
        if self.lost_answers:
            self.lost_answers -= 1
            raise OSError("the answer is lost")

    async def keys(self) -> list[str]:
        rows = await self._database.run(
            lambda db: db.execute("SELECT key FROM state ORDER BY key").fetchall()
        )
        return [key for (key,) in rows]


class Sidecar:
    """One sidecar of app1: HTTP routes, outbox, and the delivery of what waits."""

    def __init__(self, folder: Path, *, waits: Waits = QUICK, discard: bool = False) -> None:
        self.store: Store = make(Store, connectionString=str(folder / "state.db"))
        self.pubsub: SqlitePubSub = make(
            SqlitePubSub,
            connectionString=str(folder / "bus.db"),
            redeliveryDelay="20ms",
            maxRedeliveryDelay="20ms",
        )
        self.context = make_context()
        self.settings = OutboxSettings("ps", "orders", "ps", discard)
        self.scope()
        self.load_store("st", self.store)
        self.block = StateBlock(self.context)
        publisher = PubSubBlock(self.context)
        self.block.outbox = TransactionalOutbox(publisher)
        self.delivery = OutboxDelivery(publisher, self.block.outbox, waits)
        self.api = HttpApi(routes(self.block))

    def scope(self, **properties: str) -> None:
        prepared = Prepared(TopicScopes.of(properties, "app1"))
        self.context.components.pubsub["ps"] = loaded("ps", self.pubsub, prepared)

    def load_store(self, name: str, store: Store) -> None:
        rules = StoreRules(f"{name}||", None, self.settings)
        self.context.components.state[name] = loaded(name, store, rules)

    async def open(self) -> None:
        await self.store.open()
        await self.pubsub.open()

    async def close(self) -> None:
        await self.delivery.stop()
        await self.pubsub.close()
        await self.store.close()

    async def prepare_group(self) -> None:
        """Subscribe once, so that the broker keeps events, and stop."""
        await self.delivery.start()
        assert self.block.outbox is not None
        await asyncio.wait_for(self.block.outbox.subscribed(("ps", INNER)).wait(), 20)
        await self.delivery.stop()

    async def transact(self, *requests: Mapping[str, object], store: str = "st") -> Any:
        operations = [
            {"operation": entry.get("operation", "upsert"), "request": entry} for entry in requests
        ]
        body = {"operations": operations}
        return await self.api.call("POST", f"/v1.0/state/{store}/transaction", body)


@pytest.fixture
async def sidecars(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    made: list[Sidecar] = []

    async def start(**options: Any) -> Sidecar:
        found = Sidecar(tmp_path, **options)
        await found.open()
        made.append(found)
        return found

    yield start
    for found in made:
        await found.close()


class Inbox:
    """What subscribers of the public topic get."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Any] = asyncio.Queue()

    async def take(self, message: Message) -> None:
        self.events.put_nowait(orjson.loads(message.data))

    async def next(self) -> Any:
        return await asyncio.wait_for(self.events.get(), 30)

    async def data(self, count: int) -> list[str]:
        return sorted([(await self.next())["data"] for _ in range(count)])


@pytest.fixture
async def inbox(tmp_path: Path) -> AsyncIterator[Inbox]:
    found = Inbox()
    pubsub = make(SqlitePubSub, connectionString=str(tmp_path / "bus.db"), consumerID="reader")
    await pubsub.open()
    await pubsub.subscribe("orders", {}, found.take)
    yield found
    await pubsub.close()


async def until(check: Callable[[], Any]) -> None:
    """Wait for what no event tells of: rows of a database."""
    async with asyncio.timeout(30):
        while not await check():
            await asyncio.sleep(0.01)


async def no_markers(sidecar: Sidecar) -> None:
    async def clean() -> bool:
        return not [key for key in await sidecar.store.keys() if key.startswith("outbox-")]

    await until(clean)


# --- what is published --------------------------------------------------------------------------


async def test_a_transaction_is_published_once_it_is_done(
    sidecars: Callable[..., Any], inbox: Inbox
) -> None:
    sidecar = await sidecars(waits=Waits(first=50.0))  # its own transactions need no waiting at all
    await sidecar.delivery.start()
    answer = await sidecar.transact(
        {"key": "a", "value": {"n": 1}},
        {"key": "b", "operation": "delete"},
        {"key": "c", "value": "text", "metadata": {"cloudevent.type": "mine"}},
    )
    assert answer.status == 204
    found = {event["data"]: event for event in (await inbox.next(), await inbox.next())}
    assert set(found) == {"map[n:1]", "text"}
    assert found["text"]["type"] == "mine"
    assert all(event["topic"] == "orders" for event in found.values())
    assert all(event["pubsubname"] == "ps" for event in found.values())
    assert all(event["id"].startswith("outbox-") for event in found.values())
    await no_markers(sidecar)
    assert await sidecar.store.keys() == ["st||a", "st||c"]


async def test_a_plain_save_publishes_nothing(sidecars: Callable[..., Any], inbox: Inbox) -> None:
    sidecar = await sidecars()
    await sidecar.delivery.start()
    await sidecar.api.call("POST", "/v1.0/state/st", [{"key": "a", "value": "saved"}])
    await sidecar.transact({"key": "a", "operation": "delete"})
    await sidecar.transact({"key": "b", "value": "transacted"})
    assert (await inbox.next())["data"] == "transacted"


async def test_a_projection_is_published_in_place_of_the_value(
    sidecars: Callable[..., Any], inbox: Inbox
) -> None:
    sidecar = await sidecars()
    await sidecar.delivery.start()
    projected = {"outbox.projection": "true"}
    await sidecar.transact(
        {"key": "a", "value": "real"},
        {"key": "a", "value": "shown", "metadata": projected},
        {"key": "a", "value": "second", "metadata": projected},
    )
    assert (await inbox.next())["data"] == "shown"
    assert (await sidecar.api.call("GET", "/v1.0/state/st/a")).json == "real"
    answer = await sidecar.transact({"key": "b", "value": "alone", "metadata": projected})
    assert answer.error[:2] == (500, "ERR_PUBLISH_OUTBOX")
    assert "'b'" in answer.error[2]
    await sidecar.transact({"key": "c", "value": "last"})
    assert (await inbox.next())["data"] == "last"


async def test_grpc(sidecars: Callable[..., Any], inbox: Inbox) -> None:
    sidecar = await sidecars()
    await sidecar.delivery.start()
    request = state_pb2.ExecuteStateTransactionRequest(
        storeName="st",
        operations=[
            state_pb2.TransactionalStateOperation(
                operationType="upsert", request=common_pb2.StateItem(key="a", value=b'{"n":1}')
            )
        ],
        metadata={"contentType": "application/json"},
    )
    async with grpc_api(methods(sidecar.block)) as channel:
        await channel.unary(SERVICE + "ExecuteStateTransaction", request)
        event = await inbox.next()
        assert (event["data"], event["datacontenttype"]) == ({"n": 1}, "application/json")
        sidecar.scope(publishingscopes="app1=orders")
        with pytest.raises(RpcError) as caught:
            await channel.unary(SERVICE + "ExecuteStateTransaction", request)
    assert caught.value.code is GrpcCode.INTERNAL
    assert caught.value.message.startswith("error while publishing outbox message: topic default")


# --- nothing is lost ----------------------------------------------------------------------------


async def test_what_waits_when_a_sidecar_dies_is_published_by_the_next_one(
    sidecars: Callable[..., Any], inbox: Inbox
) -> None:
    dead = await sidecars()
    await dead.prepare_group()
    for key in "abc":
        assert (await dead.transact({"key": key, "value": key})).status == 204
    assert len([key for key in await dead.store.keys() if key.startswith("outbox-")]) == 3
    await dead.close()
    alive = await sidecars()
    await alive.delivery.start()
    assert await inbox.data(3) == ["a", "b", "c"]
    await no_markers(alive)


async def test_a_sidecar_that_ends_while_it_waits_gives_the_event_back(
    sidecars: Callable[..., Any], inbox: Inbox
) -> None:
    writer = await sidecars()
    await writer.prepare_group()
    writer.store.gate = asyncio.Event()
    running = asyncio.ensure_future(writer.transact({"key": "a", "value": "late"}))
    waiting = await sidecars()
    await waiting.delivery.start()
    await asyncio.sleep(0.03)  # it has the event and waits for the marker
    await waiting.close()
    writer.store.gate.set()
    assert (await running).status == 204
    next_one = await sidecars()
    await next_one.delivery.start()
    assert (await inbox.next())["data"] == "late"
    await no_markers(next_one)


async def test_several_sidecars_of_one_app_publish_every_event_once(
    sidecars: Callable[..., Any], inbox: Inbox
) -> None:
    several = [await sidecars(), await sidecars()]
    for sidecar in several:
        await sidecar.delivery.start()
    keys = [f"k{n}" for n in range(20)]
    answers = await asyncio.gather(
        *(several[n % 2].transact({"key": key, "value": key}) for n, key in enumerate(keys))
    )
    assert {answer.status for answer in answers} == {204}
    assert await inbox.data(20) == sorted(keys)
    await no_markers(several[0])
    assert inbox.events.empty()


async def test_no_transaction_before_the_broker_keeps_its_events(
    sidecars: Callable[..., Any], inbox: Inbox
) -> None:
    sidecar = await sidecars()
    early = asyncio.ensure_future(sidecar.transact({"key": "a", "value": "early"}))
    await asyncio.sleep(0.05)
    assert not early.done()
    await sidecar.delivery.start()
    assert (await early).status == 204
    assert (await inbox.next())["data"] == "early"


async def test_a_public_topic_that_cannot_be_published_to_is_tried_again(
    sidecars: Callable[..., Any], inbox: Inbox
) -> None:
    sidecar = await sidecars()
    sidecar.scope(publishingscopes=f"app1={INNER}")
    await sidecar.delivery.start()
    assert (await sidecar.transact({"key": "a", "value": "held"})).status == 204
    await asyncio.sleep(0.05)
    assert inbox.events.empty()
    sidecar.scope()
    assert (await inbox.next())["data"] == "held"
    await no_markers(sidecar)


async def test_an_answer_that_is_lost_loses_no_event(
    sidecars: Callable[..., Any], inbox: Inbox
) -> None:
    sidecar = await sidecars()
    await sidecar.delivery.start()
    sidecar.store.lost_answers = 1
    answer = await sidecar.transact({"key": "a", "value": "written"})
    assert answer.error == (
        500,
        "ERR_STATE_TRANSACTION",
        "error while executing state transaction: the answer is lost",
    )
    assert (await inbox.next())["data"] == "written"


# --- transactions that fail ---------------------------------------------------------------------


@pytest.mark.parametrize("own", [True, False])
async def test_the_event_of_a_failed_transaction_is_dropped_by_whoever_gets_it(
    sidecars: Callable[..., Any], inbox: Inbox, own: bool
) -> None:
    writer = await sidecars()
    await writer.prepare_group()
    answer = await writer.transact({"key": "a", "value": "never", "etag": "wrong"})
    assert answer.error[:2] == (500, "ERR_STATE_TRANSACTION")
    noted = await writer.store.keys()
    assert len(noted) == 1
    assert noted[0].startswith("outbox-failed-")
    reader = writer if own else await sidecars()
    await reader.delivery.start()
    await writer.transact({"key": "b", "value": "after"})
    assert (await inbox.next())["data"] == "after"
    if not own:
        await no_markers(reader)  # the note has served
    await asyncio.sleep(0.2)
    assert inbox.events.empty()


async def test_a_broker_that_refuses_stops_the_transaction(
    sidecars: Callable[..., Any], inbox: Inbox
) -> None:
    sidecar = await sidecars()
    await sidecar.prepare_group()
    sidecar.scope(publishingscopes="app1=orders")
    answer = await sidecar.transact({"key": "a", "value": 1})
    text = f"topic {INNER} is not allowed for app id app1"
    assert answer.error == (
        500,
        "ERR_PUBLISH_OUTBOX",
        f"error while publishing outbox message: {text}",
    )
    assert answer.json["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "domain": "dapr.io",
            "reason": "DAPR_PUBSUB_OUTBOX",
            "metadata": {"appID": "app1", "error": text},
        }
    ]
    assert (await sidecar.api.call("GET", "/v1.0/state/st/a")).status == 204
    del sidecar.context.components.pubsub["ps"]
    answer = await sidecar.transact({"key": "a", "value": 1})
    assert answer.error[1:] == (
        "ERR_PUBLISH_OUTBOX",
        "error while publishing outbox message: pubsub ps is not found",
    )


async def test_markers_count_as_operations(sidecars: Callable[..., Any]) -> None:
    sidecar = await sidecars()
    await sidecar.prepare_group()
    requests = [{"key": key, "value": 1} for key in "abcd"]
    assert (await sidecar.transact(*requests[:3])).status == 204
    answer = await sidecar.transact(*requests)
    assert answer.error[:2] == (400, "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS")
    assert "8 operations" in answer.error[2]


async def publish_orphan(sidecar: Sidecar) -> None:
    """An event whose sidecar died between publishing and the transaction."""
    publisher = PubSubBlock(sidecar.context)
    await publisher.publish_stored("ps", INNER, b'{"id":"outbox-orphan","data":"x"}', None)


async def test_an_event_without_transaction_is_kept_and_comes_back_when_the_state_does(
    sidecars: Callable[..., Any], inbox: Inbox
) -> None:
    sidecar = await sidecars()
    await sidecar.delivery.start()
    await sidecar.transact({"key": "a", "value": "before"})
    assert (await inbox.next())["data"] == "before"
    await publish_orphan(sidecar)
    await asyncio.sleep(0.4)  # several deliveries
    assert inbox.events.empty()
    await sidecar.store.set(SetRequest("outbox-orphan", b"0"))  # restored from a copy
    assert (await inbox.next())["data"] == "x"


@pytest.mark.parametrize(
    "options", [{"discard": True}, {"waits": Waits(0.01, 0.01, total=0.01, give_up=0.05)}]
)
async def test_an_event_without_transaction_is_dropped_on_request_or_when_it_is_old(
    sidecars: Callable[..., Any], inbox: Inbox, options: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sidecar = await sidecars(**options)
    await sidecar.prepare_group()
    await publish_orphan(sidecar)
    await sidecar.delivery.start()
    await until_said(caplog, "outbox event outbox-orphan is d")
    await sidecar.store.set(SetRequest("outbox-orphan", b"0"))
    await asyncio.sleep(0.2)
    assert inbox.events.empty()


async def until_said(caplog: pytest.LogCaptureFixture, text: str) -> None:
    async def said() -> bool:
        return any(text in record.getMessage() for record in caplog.records)

    await until(said)


async def test_a_message_that_is_no_event_is_dropped(
    sidecars: Callable[..., Any], inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    sidecar = await sidecars()
    await sidecar.prepare_group()
    publisher = PubSubBlock(sidecar.context)
    await publisher.publish_stored("ps", INNER, b"junk", None)
    await sidecar.delivery.start()
    await until_said(caplog, "is no outbox event and is dropped")


async def test_what_is_remembered_of_transactions_is_bounded_and_holds_no_values(
    sidecars: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dapr_sidecar.blocks.state.outbox._REMEMBERED", 3)
    sidecar = await sidecars()
    await sidecar.prepare_group()
    for number in range(5):
        await sidecar.transact({"key": f"k{number}", "value": "large"})
    kept = list(sidecar.block.outbox.outcomes._batches.values())
    assert len(kept) == 3
    assert not any(batch.events or batch.operations for batch in kept)


# --- configuration ------------------------------------------------------------------------------


async def test_stores_that_share_a_topic_share_a_relay(
    sidecars: Callable[..., Any], inbox: Inbox, tmp_path: Path
) -> None:
    writer, reader = await sidecars(), await sidecars()
    await writer.prepare_group()
    other: Store = make(Store, connectionString=str(tmp_path / "other.db"))
    await other.open()
    for sidecar in (writer, reader):
        sidecar.load_store("st2", other)
    await writer.transact({"key": "a", "value": "one"})
    await writer.transact({"key": "a", "value": "two"}, store="st2")
    await reader.delivery.start()
    assert await inbox.data(2) == ["one", "two"]
    await no_markers(reader)
    await other.close()


async def test_reloaded_components(sidecars: Callable[..., Any], inbox: Inbox) -> None:
    sidecar = await sidecars()
    await sidecar.delivery.start()
    pubsub = sidecar.context.components.pubsub.pop("ps")
    assert sidecar.block.outbox is not None
    ready = sidecar.block.outbox.subscribed(("ps", INNER))
    await sidecar.delivery.component_changed(resources.Component("ps", "pubsub.sqlite"))
    assert not ready.is_set()
    sidecar.context.components.pubsub["ps"] = pubsub
    await sidecar.delivery.component_changed(resources.Component("ps", "pubsub.sqlite"))
    await asyncio.wait_for(ready.wait(), 20)
    await sidecar.transact({"key": "a", "value": "again"})
    assert (await inbox.next())["data"] == "again"
    del sidecar.context.components.state["st"]
    await sidecar.delivery.component_changed(resources.Component("st", "state.sqlite"))
    assert not sidecar.delivery._live


async def test_encrypted_state_is_published_as_it_was_given(
    sidecars: Callable[..., Any], inbox: Inbox
) -> None:
    class Reversed:
        def encrypt(self, value: Any) -> bytes:
            return bytes(reversed(value.value.encode()))

    sidecar = await sidecars()
    rules = StoreRules("st||", Reversed(), sidecar.settings)  # type: ignore[arg-type]
    sidecar.context.components.state["st"] = loaded("st", sidecar.store, rules)
    await sidecar.delivery.start()
    await sidecar.transact({"key": "a", "value": "secret"})
    assert (await inbox.next())["data"] == "secret"
    assert (await sidecar.store.get(GetRequest("st||a"))).data == b"terces"
