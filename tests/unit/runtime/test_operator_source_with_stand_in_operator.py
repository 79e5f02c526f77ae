"""The table of resources that the operator fills: lists, events, interruptions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from harness.stand_in_operator import StandInOperator

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.kube.resources import Component
from dapr_common.wire.dapr.proto.operator.v1 import operator_pb2 as pb
from dapr_sidecar.runtime.operator_client import (
    COMPONENTS,
    CONFIGURATIONS,
    LISTED,
    OperatorClient,
)
from dapr_sidecar.runtime.operator_source import OperatorSource
from dapr_sidecar.runtime.resources import Resources, SourceError
from dapr_sidecar.runtime.security import SidecarSecurity

SPEC = {"type": "state.in-memory", "version": "v1"}


class Following:
    """A source that is followed; ``until`` waits for what it reads."""

    def __init__(self, source: OperatorSource) -> None:
        self.source = source
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(source.follow(self._changed))

    async def until(self, wanted: Callable[[Resources], bool]) -> Resources:
        async with asyncio.timeout(20):
            while not wanted(found := self.source.read()):
                self._changed.clear()
                await self._changed.wait()
        return found

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def names(found: Resources) -> list[str]:
    return [component.name for component in found.components]


@asynccontextmanager
async def connected(
    operator: StandInOperator, *, security: object = None, **more: Any
) -> AsyncIterator[OperatorSource]:
    guard = cast(SidecarSecurity, security or operator.security())
    client = OperatorClient(operator.address, "apps", guard)
    given: dict[str, Any] = {
        "app_id": "orders",
        "configuration_name": "",
        "builtin": None,
        "interval": 60.0,
        **more,
    }
    yield OperatorSource(client, **given)
    await client.close()


@asynccontextmanager
async def following(operator: StandInOperator, **more: Any) -> AsyncIterator[Following]:
    async with connected(operator, **more) as source:
        await source.load()
        made = Following(source)
        try:
            yield made
        finally:
            await made.end()


async def test_everything_is_listed_once_at_the_start() -> None:
    operator = StandInOperator()
    operator.put("Component", "a", version="7", spec=SPEC)
    operator.put("Component", "theirs", spec=SPEC, scopes=["payments"])
    operator.put("Subscription", "s", spec={"pubsubname": "p", "topic": "t"})
    operator.put("Resiliency", "r", spec={})
    operator.put("HTTPEndpoint", "e", spec={"baseUrl": "http://x"})
    operator.put("Configuration", "mine", spec={"tracing": {"samplingRate": "1"}})
    builtin = Component("kubernetes", "secretstores.kubernetes")
    async with (
        operator.serving(),
        connected(operator, configuration_name="mine", builtin=builtin) as source,
    ):
        found = await source.load()
    assert names(found) == ["kubernetes", "a"]
    assert [one.name for one in found.subscriptions] == ["s"]
    assert [one.name for one in found.resiliencies] == ["r"]
    assert [one.name for one in found.http_endpoints] == ["e"]
    assert found.configuration.spec == {"tracing": {"samplingRate": "1"}}
    assert found.versions["Component", "a"] == "7"
    assert sorted(operator.calls) == sorted(
        ["GetConfiguration", *(kind.list_method for kind in LISTED)]
    )


async def test_an_own_component_of_that_name_stands_for_the_builtin_store() -> None:
    operator = StandInOperator()
    operator.put("Component", "kubernetes", spec=SPEC)
    builtin = Component("kubernetes", "secretstores.kubernetes")
    async with operator.serving(), connected(operator, builtin=builtin) as source:
        found = await source.load()
    assert [one.type for one in found.components] == ["state.in-memory"]


async def test_what_fails_is_asked_again() -> None:
    operator = StandInOperator()
    operator.put("Component", "a", spec=SPEC)
    operator.failures["ListComponents"] = [RpcError(GrpcCode.UNKNOWN, "no such secret")] * 2
    async with operator.serving(), connected(operator) as source:
        assert names(await source.load()) == ["a"]
    assert operator.calls.count("ListComponents") == 3


async def test_a_refusal_is_final() -> None:
    operator = StandInOperator()
    refusal = RpcError(GrpcCode.PERMISSION_DENIED, "identity does not match")
    operator.failures["ListComponents"] = [refusal]
    async with operator.serving(), connected(operator) as source:
        with pytest.raises(SourceError, match="identity does not match"):
            await source.load()


async def test_somebody_elses_operator_is_not_believed() -> None:
    operator = StandInOperator()
    other = operator.security("spiffe://cluster.local/ns/other/dapr-operator")
    async with operator.serving(), connected(operator, security=other) as source:
        with pytest.raises(SourceError, match="the operator is not the expected one"):
            await source.load()


async def test_an_operator_that_does_not_know_a_kind_has_none_of_it() -> None:
    operator = StandInOperator()
    operator.failures["ListHTTPEndpoints"] = [RpcError(GrpcCode.UNIMPLEMENTED, "unknown method")]
    async with operator.serving(), connected(operator) as source:
        assert (await source.load()).http_endpoints == []


@pytest.mark.parametrize("silent", [False, True])
async def test_events(silent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dapr_sidecar.runtime.operator_source._REGISTERED_SECONDS", 0.1)
    operator = StandInOperator(silent=silent)
    async with operator.serving(), following(operator) as follower:
        await operator.until(lambda: operator.calls.count("ListComponents") == 2)
        raw = operator.put("Component", "a", spec=SPEC)
        await operator.tell(COMPONENTS, pb.CREATED, raw)
        await follower.until(lambda found: names(found) == ["a"])
        raw = operator.put("Component", "a", spec={**SPEC, "type": "state.sqlite"})
        await operator.tell(COMPONENTS, pb.UPDATED, raw)
        await follower.until(lambda found: found.components[0].type == "state.sqlite")
        await operator.tell(COMPONENTS, pb.DELETED, raw)
        await follower.until(lambda found: names(found) == [])
        assert operator.calls.count("ListComponents") == 2


async def test_a_version_that_cannot_be_read_takes_nothing_away() -> None:
    operator = StandInOperator()
    good = operator.put("Component", "a", version="1", spec=SPEC)
    async with operator.serving(), following(operator) as follower:
        await operator.until(lambda: operator.calls.count("ListComponents") == 2)
        bad = operator.put("Component", "a", version="2", spec={**SPEC, "metadata": 5})
        await operator.tell(COMPONENTS, pb.UPDATED, bad)
        found = await follower.until(lambda found: bool(found.faults))
        assert names(found) == ["a"]
        assert "metadata must be a list" in found.faults["Component", "a"]
        assert found.versions["Component", "a"] == "2"
        await operator.tell(COMPONENTS, pb.UPDATED, good)
        await follower.until(lambda found: not found.faults)
        await operator.tell(COMPONENTS, pb.CREATED, b"no JSON")
        await operator.tell(COMPONENTS, pb.CREATED, operator.put("Component", "b", spec=SPEC))
        await follower.until(lambda found: names(found) == ["a", "b"])


async def test_what_happens_while_a_stream_is_cut_is_found_by_listing() -> None:
    operator = StandInOperator()
    operator.put("Component", "a", spec=SPEC)
    async with operator.serving(), following(operator) as follower:
        await operator.until(lambda: operator.calls.count("ListComponents") == 2)
        operator.put("Component", "b", spec=SPEC)
        del operator.resources["Component"]["a"]
        await operator.cut(COMPONENTS)
        await follower.until(lambda found: names(found) == ["b"])


async def test_it_lists_again_now_and_then_and_survives_a_failure() -> None:
    operator = StandInOperator()
    failure = RpcError(GrpcCode.UNKNOWN, "a secret is missing")
    async with operator.serving(), following(operator, interval=0.05) as follower:
        await operator.until(lambda: operator.calls.count("ListComponents") >= 3)
        operator.failures["ListComponents"] = [failure]
        operator.put("Component", "a", spec=SPEC)
        await follower.until(lambda found: names(found) == ["a"])
        assert operator.calls.count("ComponentUpdate") == 1


async def test_a_connection_nobody_answers_on_is_left() -> None:
    operator = StandInOperator()
    failure = RpcError(GrpcCode.DEADLINE_EXCEEDED, "context deadline exceeded")
    async with operator.serving(), following(operator, interval=0.05) as follower:
        await operator.until(lambda: operator.calls.count("ListComponents") >= 3)
        operator.failures["ListComponents"] = [failure]
        await operator.until(lambda: operator.calls.count("ComponentUpdate") == 2)
        operator.put("Component", "a", spec=SPEC)
        await follower.until(lambda found: names(found) == ["a"])
        assert len(operator.peers) == 2


async def test_a_configuration_that_goes_stays_in_use() -> None:
    operator = StandInOperator()
    raw = operator.put("Configuration", "mine", spec={"a": 1})
    other = operator.put("Configuration", "other", spec={"a": 2})
    del operator.resources["Configuration"]["other"]
    async with operator.serving(), following(operator, configuration_name="mine") as follower:
        await operator.until(lambda: operator.calls.count("GetConfiguration") == 2)
        await operator.tell(CONFIGURATIONS, pb.DELETED, raw)
        await operator.tell(CONFIGURATIONS, pb.CREATED, other)
        changed = operator.put("Configuration", "mine", spec={"a": 3})
        assert follower.source.read().configuration.spec == {"a": 1}
        await operator.tell(CONFIGURATIONS, pb.UPDATED, changed)
        found = await follower.until(lambda found: found.configuration.spec == {"a": 3})
        assert [one.name for one in found.configurations] == ["mine"]
