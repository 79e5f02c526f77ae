"""Metadata of published messages: absent, empty, with nulls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
import pytest
from harness.block_api import SERVICE, HttpApi, grpc_api, loaded, make_context

from dapr_common.wire.dapr.proto.runtime.v1 import pubsub_pb2
from dapr_sidecar.api.grpc.pubsub import methods
from dapr_sidecar.api.http.pubsub import routes
from dapr_sidecar.blocks.pubsub.programmatic import parse_subscriptions
from dapr_sidecar.blocks.pubsub.publish import PubSubBlock
from dapr_sidecar.blocks.pubsub.subscriptions import SubscriptionSet
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.pubsub.base import BulkPublishEntry, PublishRequest
from dapr_sidecar.components.pubsub.memory import InMemoryPubSub


class Recorder(InMemoryPubSub):
    """Keeps the metadata it is given."""

    def __init__(self) -> None:
        super().__init__(None, ComponentContext("ps", "app1"))
        self.seen: list[Mapping[str, str] | None] = []
        self.entries: list[tuple[str, str]] = []

    async def publish(self, request: PublishRequest) -> None:
        self.seen.append(request.metadata)

    async def bulk_publish(
        self,
        topic: str,
        entries: Sequence[BulkPublishEntry],
        metadata: Mapping[str, str] | None,
    ) -> dict[str, Exception]:
        self.seen += [entry.metadata for entry in entries]
        self.entries += [(one.entry_id, orjson.loads(one.data)["data"]) for one in entries]
        return {}


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def block(recorder: Recorder) -> PubSubBlock:
    found = PubSubBlock(make_context())
    found.context.components.pubsub["ps"] = loaded("ps", recorder)
    return found


async def test_http_always_has_a_map_and_grpc_only_one_that_was_given(
    block: PubSubBlock, recorder: Recorder
) -> None:
    await HttpApi(routes(block)).call("POST", "/v1.0/publish/ps/t", b"1")
    async with grpc_api(methods(block, SubscriptionSet(block))) as channel:
        for metadata in ({}, {"a": "b"}):
            request = pubsub_pb2.PublishEventRequest(
                pubsub_name="ps", topic="t", data=b"1", metadata=metadata
            )
            await channel.unary(SERVICE + "PublishEvent", request, timeout=20)
    assert recorder.seen == [{}, None, {"a": "b"}]


async def test_a_null_in_an_entrys_metadata_is_an_empty_text(
    block: PubSubBlock, recorder: Recorder
) -> None:
    entry = {"entryId": "1", "event": "x", "contentType": "text/plain", "metadata": {"a": None}}
    answer = await HttpApi(routes(block)).call("POST", "/v1.0/publish/bulk/ps/t", [entry])
    assert answer.status == 204
    assert recorder.seen == [{"a": ""}]


async def test_half_a_character_in_an_entry_is_a_replacement_character(
    block: PubSubBlock, recorder: Recorder
) -> None:
    body = (
        b'[{"entryId":"\\ud83d","event":"\\ud83dx","contentType":"text/plain",'
        b'"metadata":{"a":"\\ud83d"}}]'
    )
    api = HttpApi(routes(block))
    assert (await api.call("POST", "/v1.0/publish/bulk/ps/t", body)).status == 204
    assert recorder.seen == [{"a": "\ufffd"}]
    assert recorder.entries == [("\ufffd", "\ufffdx")]


def test_a_null_in_a_subscriptions_metadata_is_an_empty_text() -> None:
    (found,) = parse_subscriptions(
        b'[{"pubsubname":"ps","topic":"t","route":"/t","metadata":{"queueName":null}}]'
    )
    assert found.metadata == {"queueName": ""}
