"""The state block behind both transports, on the in-memory store and on stores that fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from google.rpc import error_details_pb2
from harness.block_api import SERVICE, HttpApi, grpc_api, loaded, make, make_context

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.kube.resources import Resiliency
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import state_pb2
from dapr_sidecar.api.grpc.state import methods
from dapr_sidecar.api.http.state import routes
from dapr_sidecar.blocks.state.block import StateBlock
from dapr_sidecar.blocks.state.rules import StoreRules
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.state.base import (
    BulkGetItem,
    DeleteRequest,
    EtagError,
    GetRequest,
    GetResponse,
    QueryResult,
    SetRequest,
    StateStore,
)
from dapr_sidecar.components.state.memory import InMemoryStateStore
from dapr_sidecar.resiliency.policy import LoadedPolicies

RULES = StoreRules("app1||", None, None)
ST = "/v1.0/state/st"
WORDS = "failed deserializing HTTP body: "
DEEP = b"[" * 700 + b"]" * 700


class Scripted(StateStore):
    """Answers what a test puts in: per key a list of failures, one for each attempt."""

    def __init__(self) -> None:
        super().__init__(None, ComponentContext("st", "app1"))
        self.failures: dict[str, list[Exception]] = {}
        self.seen: list[str] = []
        self.requests: list[object] = []

    def _play(self, key: str, request: object) -> None:
        self.seen.append(key)
        self.requests.append(request)
        if failures := self.failures.get(key):
            raise failures.pop(0)

    async def get(self, request: GetRequest) -> GetResponse:
        self._play(request.key, request)
        return GetResponse(b"1", "e", {"ttlExpireTime": "2030-01-01T00:00:00Z"}, "text/x")

    async def set(self, request: SetRequest) -> None:
        self._play(request.key, request)

    async def delete(self, request: DeleteRequest) -> None:
        self._play(request.key, request)


class Limited(InMemoryStateStore):
    """A store with a largest transaction."""

    max_operations = 2


class Queried(Scripted):
    """A store with the query API."""

    async def query(self, query: Mapping[str, object], metadata: Mapping[str, str]) -> QueryResult:
        self._play("query", query)
        return QueryResult(
            [BulkGetItem("app1||k", b'{"a":1}', "e"), BulkGetItem("x", error="no")], "3", {"m": "n"}
        )


@pytest.fixture
def store() -> InMemoryStateStore:
    made: InMemoryStateStore = make(InMemoryStateStore)
    return made


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
def block(store: InMemoryStateStore, scripted: Scripted) -> StateBlock:
    found = StateBlock(make_context())
    context = ComponentContext("lim", "app1")
    for name, component in {
        "st": store,
        "bad": scripted,
        "lim": Limited(None, context),
        "q": Queried(),
    }.items():
        found.context.components.state[name] = loaded(name, component, RULES)
    return found


@pytest.fixture
def api(block: StateBlock) -> HttpApi:
    return HttpApi(routes(block))


@pytest.fixture
async def channel(block: StateBlock) -> AsyncIterator[GrpcChannel]:
    async with grpc_api(methods(block)) as found:
        yield found


async def refused(channel: GrpcChannel, method: str, request: Any) -> tuple[GrpcCode, str]:
    with pytest.raises(RpcError) as caught:
        await channel.unary(SERVICE + method, request, timeout=5)
    return caught.value.code, caught.value.message


def item(key: str, value: bytes = b"1", etag: str | None = None, **metadata: str) -> Any:
    made = common_pb2.StateItem(key=key, value=value, metadata=metadata)
    if etag is not None:
        made.etag.value = etag
    return made


# --- plain use -----------------------------------------------------------------------------------


async def test_http_save_get_delete(api: HttpApi, store: InMemoryStateStore) -> None:
    body = [{"Key": "a", "VALUE": {"b": 1}}, {"key": "c", "value": "t"}]
    assert (await api.call("POST", ST, body)).status == 204
    assert (await api.call("PUT", ST, [])).status == 204
    answer = await api.call("GET", f"{ST}/a")
    assert (answer.status, answer.body) == (200, b'{"b":1}')
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["etag"] == (await store.get(GetRequest("app1||a"))).etag
    assert (await api.call("GET", f"{ST}/none")).status == 204
    assert (await api.call("DELETE", f"{ST}/a")).status == 204
    assert (await api.call("DELETE", f"{ST}/a")).status == 204
    assert (await api.call("GET", f"{ST}/a")).status == 204


async def test_http_what_a_store_reports_comes_as_headers(api: HttpApi) -> None:
    headers = (await api.call("GET", "/v1.0/state/bad/k")).headers
    assert headers["content-type"] == "text/x"
    assert headers["metadata.ttlexpiretime"] == "2030-01-01T00:00:00Z"


async def test_http_query_metadata_and_options_reach_the_store(
    api: HttpApi, scripted: Scripted
) -> None:
    entry = {
        "key": "k",
        "value": 1,
        "etag": "e",
        "metadata": {"a": "item", "b": "item"},
        "options": {"concurrency": "first-write", "consistency": "strong"},
    }
    await api.call("POST", "/v1.0/state/bad?metadata.a=query", [entry])
    request = scripted.requests[-1]
    assert isinstance(request, SetRequest)
    assert request.metadata == {"a": "query", "b": "item"}
    assert (request.etag, request.concurrency, request.consistency) == (
        "e",
        "first-write",
        "strong",
    )
    await api.call("GET", "/v1.0/state/bad/k?consistency=eventual&metadata.x=y")
    assert scripted.requests[-1] == GetRequest("app1||k", {"x": "y"}, "eventual")
    target = "/v1.0/state/bad/k?concurrency=last-write&consistency=strong"
    await api.call("DELETE", target, headers={"If-Match": ""})
    assert scripted.requests[-1] == DeleteRequest("app1||k", None, {}, "last-write", "strong")


async def test_http_bulk_get_keeps_order_and_carries_errors(
    api: HttpApi, store: InMemoryStateStore, scripted: Scripted
) -> None:
    await store.set(SetRequest("app1||a", b"1"))
    await store.set(SetRequest("app1||raw", b"\x00"))
    answer = await api.call("POST", f"{ST}/bulk", {"keys": ["zz", "a", "raw"], "parallelism": 1})
    zz, a, raw = answer.json
    assert zz == {"key": "zz"}
    assert (a["key"], a["data"]) == ("a", 1)
    assert "not JSON" in raw["error"]
    assert (await api.call("POST", f"{ST}/bulk", {"keys": []})).json == []
    scripted.failures["app1||x"] = [OSError("down")]
    answer = await api.call("POST", "/v1.0/state/bad/bulk", {"keys": ["x", "y"]})
    assert [entry.get("error") for entry in answer.json] == ["down", None]


async def test_grpc_save_get_delete_and_bulk(channel: GrpcChannel) -> None:
    save = state_pb2.SaveStateRequest(
        store_name="st",
        states=[item("a", b"\xff"), item("b", b"[1, 2]", contentType="application/json")],
    )
    await channel.unary(SERVICE + "SaveState", save)
    get = state_pb2.GetStateRequest(store_name="st", key="a")
    found = (await channel.unary(SERVICE + "GetState", get, state_pb2.GetStateResponse)).message
    assert found.data == b"\xff"
    assert found.etag
    many = state_pb2.GetBulkStateRequest(store_name="st", keys=["b", "none"])
    answer = await channel.unary(SERVICE + "GetBulkState", many, state_pb2.GetBulkStateResponse)
    assert [(entry.key, entry.data) for entry in answer.message.items] == [
        ("b", b"[1,2]"),
        ("none", b""),
    ]
    drop = state_pb2.DeleteBulkStateRequest(store_name="st", states=[item("a"), item("b")])
    await channel.unary(SERVICE + "DeleteBulkState", drop)
    gone = (await channel.unary(SERVICE + "GetState", get, state_pb2.GetStateResponse)).message
    assert (gone.data, gone.etag) == (b"", "")


async def test_queries_over_both_transports(api: HttpApi, channel: GrpcChannel) -> None:
    answer = await api.call("POST", "/v1.0-alpha1/state/q/query", {"filter": {"EQ": {"a": 1}}})
    assert answer.json == {
        "results": [{"key": "k", "data": {"a": 1}, "etag": "e"}, {"key": "x", "error": "no"}],
        "token": "3",
        "metadata": {"m": "n"},
    }
    request = state_pb2.QueryStateRequest(store_name="q", query="{}")
    found = await channel.unary(SERVICE + "QueryStateAlpha1", request, state_pb2.QueryStateResponse)
    assert [entry.key for entry in found.message.results] == ["k", "x"]
    for body in (b"{", b"[]"):
        failed = await api.call("POST", "/v1.0-alpha1/state/q/query", body)
        assert failed.error[:2] == (500, "ERR_STATE_QUERY")
    bad = state_pb2.QueryStateRequest(store_name="q", query="{")
    code, text = await refused(channel, "QueryStateAlpha1", bad)
    assert (code, text[:30]) == (GrpcCode.INTERNAL, "state store q query failed: fa")
    code, text = await refused(
        channel, "QueryStateAlpha1", state_pb2.QueryStateRequest(store_name="st", query="{}")
    )
    assert text == "state store does not support querying"


# --- etags ---------------------------------------------------------------------------------------


async def test_etags_and_first_write_over_http(api: HttpApi) -> None:
    first = {"key": "a", "value": 1, "options": {"concurrency": "first-write"}}
    assert (await api.call("POST", ST, [first])).status == 204
    assert (await api.call("POST", ST, [first])).error[:2] == (409, "ERR_STATE_SAVE")
    etag = (await api.call("GET", f"{ST}/a")).headers["etag"]
    assert (await api.call("POST", ST, [{**first, "etag": etag}])).status == 204
    status, code, text = (await api.call("POST", ST, [{**first, "etag": etag}])).error
    assert (status, code) == (409, "ERR_STATE_SAVE")
    assert text.startswith(
        "failed saving state in state store st: possible etag mismatch. error from state store: "
    )
    last = {"key": "a", "value": 2, "options": {"concurrency": "last-write"}}
    assert (await api.call("POST", ST, [last])).status == 204
    answer = await api.call("DELETE", f"{ST}/a", headers={"If-Match": etag})
    assert answer.error[:2] == (409, "ERR_STATE_DELETE")
    etag = (await api.call("GET", f"{ST}/a")).headers["etag"]
    assert (await api.call("DELETE", f"{ST}/a", headers={"If-Match": etag})).status == 204


async def test_a_stale_etag_is_told_with_the_current_one(api: HttpApi) -> None:
    await api.call("POST", ST, [{"key": "a", "value": 1}])
    current = (await api.call("GET", f"{ST}/a")).headers["etag"]
    failed = await api.call("POST", ST, [{"key": "a", "value": 2, "etag": "999"}])
    text = "failed saving state in state store st: possible etag mismatch. error from state store: "
    text += f"state etag not match for key=app1||a: current={current}, expect=999"
    assert failed.error == (409, "ERR_STATE_SAVE", text)


async def test_etags_over_grpc(channel: GrpcChannel, scripted: Scripted) -> None:
    save = state_pb2.SaveStateRequest(store_name="bad", states=[item("k", etag="x")])
    scripted.failures["app1||k"] = [EtagError("no"), EtagError("no", invalid=True), OSError("no")]
    prefix = "failed saving state in state store bad: "
    found = [await refused(channel, "SaveState", save) for _ in range(3)]
    assert found == [
        (
            GrpcCode.ABORTED,
            prefix + "possible etag mismatch. error from state store: no",
        ),
        (GrpcCode.INVALID_ARGUMENT, prefix + "invalid etag value: no"),
        (GrpcCode.INTERNAL, prefix + "no"),
    ]
    scripted.failures["app1||k"] = [EtagError("no"), EtagError("no")]
    drop = state_pb2.DeleteStateRequest(store_name="bad", key="k")
    assert (await refused(channel, "DeleteState", drop))[0] is GrpcCode.ABORTED
    many = state_pb2.DeleteBulkStateRequest(store_name="bad", states=[item("k"), item("j")])
    assert (await refused(channel, "DeleteBulkState", many))[0] is GrpcCode.ABORTED


@pytest.mark.parametrize(
    ("failures", "status", "text"),
    [
        (
            {"a": EtagError("1"), "b": EtagError("2")},
            409,
            (
                "possible etag mismatch. error from state store: possible etag mismatch. "
                "error from state store: 1\npossible etag mismatch. error from state store: 2"
            ),
        ),
        (
            {"a": EtagError("1"), "b": EtagError("2", invalid=True)},
            400,
            (
                "invalid etag value: possible etag mismatch. error from state store: 1\n"
                "invalid etag value: 2"
            ),
        ),
        ({"a": EtagError("1"), "b": OSError("2")}, 500, None),
        ({"b": OSError("2")}, 500, "2"),
    ],
)
async def test_many_failures_become_one(
    api: HttpApi,
    scripted: Scripted,
    failures: Mapping[str, Exception],
    status: int,
    text: str | None,
) -> None:
    scripted.failures = {f"app1||{key}": [error] for key, error in failures.items()}
    body = [{"key": key, "value": 1} for key in "abc"]
    answer = await api.call("POST", "/v1.0/state/bad", body)
    assert answer.error[:2] == (status, "ERR_STATE_SAVE")
    if text is not None:
        assert answer.error[2] == f"failed saving state in state store bad: {text}"


def retrying(times: int) -> LoadedPolicies:
    policy = {"policy": "constant", "duration": "1ms", "maxRetries": times}
    target = {"outbound": {"retry": "r"}}
    spec = {
        "policies": {"retries": {"r": policy}},
        "targets": {"components": {"bad": target}},
    }
    return LoadedPolicies([Resiliency("r", spec=spec)], "app1")


async def test_a_retry_repeats_only_what_can_succeed(
    block: StateBlock, api: HttpApi, scripted: Scripted
) -> None:
    block.context.policies = retrying(3)
    scripted.failures = {"app1||b": [OSError("1"), OSError("2")]}
    body = [{"key": key, "value": 1} for key in "abc"]
    assert (await api.call("POST", "/v1.0/state/bad", body)).status == 204
    assert sorted(scripted.seen) == [f"app1||{key}" for key in "abbbc"]
    scripted.seen.clear()
    scripted.failures = {"app1||a": [EtagError("x")], "app1||b": [OSError("1"), OSError("2")]}
    answer = await api.call("POST", "/v1.0/state/bad", body)
    assert answer.error[:2] == (409, "ERR_STATE_SAVE")  # the failure before the retry is not lost
    assert sorted(scripted.seen) == [f"app1||{key}" for key in "abbbc"]


async def test_etag_failures_are_never_retried(
    block: StateBlock, api: HttpApi, scripted: Scripted
) -> None:
    block.context.policies = retrying(3)
    scripted.failures = {"app1||a": [EtagError("x")] * 4}
    one = [{"key": "a", "value": 1}]
    assert (await api.call("POST", "/v1.0/state/bad", one)).error[0] == 409
    assert (await api.call("POST", "/v1.0/state/bad", one * 2)).error[0] == 409
    assert (await api.call("DELETE", "/v1.0/state/bad/a")).error[0] == 409
    assert len(scripted.seen) == 4


async def test_etag_failures_open_no_breaker(
    block: StateBlock, api: HttpApi, scripted: Scripted
) -> None:
    breaker = {"trip": "consecutiveFailures >= 1", "timeout": "60s"}
    target = {"outbound": {"circuitBreaker": "cb"}}
    spec = {
        "policies": {"circuitBreakers": {"cb": breaker}},
        "targets": {"components": {"bad": target}},
    }
    block.context.policies = LoadedPolicies([Resiliency("r", spec=spec)], "app1")
    scripted.failures = {"app1||a": [EtagError("x")] * 3}
    one = [{"key": "a", "value": 1}]
    assert (await api.call("POST", "/v1.0/state/bad", one)).error[0] == 409
    assert (await api.call("POST", "/v1.0/state/bad", one * 2)).error[0] == 409
    assert (await api.call("POST", "/v1.0/state/bad", one)).status == 204
    scripted.failures = {"app1||a": [OSError("gone")]}
    assert (await api.call("POST", "/v1.0/state/bad", one)).error[0] == 500
    assert "circuit breaker is open" in (await api.call("POST", "/v1.0/state/bad", one)).error[2]


# --- transactions --------------------------------------------------------------------------------


def upsert(key: str, value: object = 1, **more: object) -> dict[str, object]:
    return {"operation": "upsert", "request": {"key": key, "value": value, **more}}


async def transact(
    api: HttpApi, *operations: Mapping[str, object], store: str = "st", query: str = ""
) -> Any:
    return await api.call(
        "POST", f"/v1.0/state/{store}/transaction{query}", {"operations": operations}
    )


async def test_a_transaction_is_all_or_nothing(api: HttpApi) -> None:
    drop = {"operation": "delete", "request": {"key": "a"}}
    assert (await transact(api)).status == 204
    assert (await transact(api, upsert("a"), upsert("b"))).status == 204
    assert (await transact(api, drop, upsert("c"))).status == 204
    assert (await api.call("GET", f"{ST}/a")).status == 204
    failed = await transact(api, upsert("d"), upsert("b", etag="wrong"))
    assert failed.error[:2] == (500, "ERR_STATE_TRANSACTION")
    assert failed.error[2].startswith("error while executing state transaction: possible etag")
    assert (await api.call("GET", f"{ST}/d")).status == 204


async def test_what_a_transaction_may_not_be(api: HttpApi, channel: GrpcChannel) -> None:
    odd = await transact(api, {"operation": "Upsert", "request": {"key": "a"}})
    assert odd.error == (
        400,
        "ERR_NOT_SUPPORTED_STATE_OPERATION",
        "operation type Upsert not supported",
    )
    assert (await transact(api, upsert("a||b"))).error[0] == 400
    unable = await transact(api, upsert("a"), store="bad")
    assert unable.error[:2] == (500, "ERR_STATE_STORE_NOT_SUPPORTED")
    assert (await transact(api, upsert("a"), upsert("b"), store="lim")).status == 204
    large = await transact(api, *map(upsert, "abc"), store="lim")
    assert large.error[:2] == (400, "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS")
    assert large.json["details"][1]["metadata"] == {
        "currentOpsTransaction": "3",
        "maxOpsPerTransaction": "2",
    }

    def request(store: str, kind: str, count: int) -> Any:
        operations = [
            state_pb2.TransactionalStateOperation(operationType=kind, request=item(f"k{n}"))
            for n in range(count)
        ]
        return state_pb2.ExecuteStateTransactionRequest(storeName=store, operations=operations)

    method = "ExecuteStateTransaction"
    await channel.unary(SERVICE + method, request("st", "upsert", 1))
    await channel.unary(SERVICE + method, request("st", "delete", 1))
    codes = [
        (await refused(channel, method, request(*arguments)))[0]
        for arguments in (("st", "put", 1), ("bad", "upsert", 1), ("lim", "upsert", 3))
    ]
    assert codes == [GrpcCode.UNIMPLEMENTED, GrpcCode.UNIMPLEMENTED, GrpcCode.INVALID_ARGUMENT]


# --- requests that cannot be served --------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        {"key": "a"},
        [1],
        [{"value": 1}],
        [{"key": 1}],
        [{"key": "a", "metadata": {"a": 1}}],
    ],
)
async def test_malformed_bodies(api: HttpApi, body: object) -> None:
    answer = await api.call("POST", ST, body)
    assert answer.error[:2] == (400, "ERR_MALFORMED_REQUEST")


@pytest.mark.parametrize(
    ("path", "lead"), [(ST, ""), (f"{ST}/bulk", WORDS), (f"{ST}/transaction", WORDS)]
)
@pytest.mark.parametrize("body", [b"{bad", b"5", b'[{"key":5}]', b'{"keys":5,"operations":5}'])
async def test_only_a_save_says_alone_what_is_wrong(
    api: HttpApi, path: str, lead: str, body: bytes
) -> None:
    message = (await api.call("POST", path, body)).error[2]
    assert message.startswith(lead)
    assert ("HTTP body" in message) == bool(lead)


@pytest.mark.parametrize("more", [b"NaN", b"-Infinity", b"1e400", b"[" * 2000])
async def test_a_long_number_makes_nothing_else_json(api: HttpApi, more: bytes) -> None:
    body = b'[{"key":"n","value":[1234567890123456789012345,%b]}]' % more
    assert (await api.call("POST", ST, body)).error[:2] == (400, "ERR_MALFORMED_REQUEST")


async def test_half_a_character_is_a_replacement_character(api: HttpApi) -> None:
    body = b'[{"key":"cut","value":{"a\\uDC00":["\\ud83dA","\\ud83d\\ude00",%d]}}]' % 2**70
    assert (await api.call("POST", ST, body)).status == 204
    found = await api.call("GET", f"{ST}/cut")
    assert found.json == {"a\ufffd": ["\ufffdA", "\U0001f600", 2**70]}


@pytest.mark.parametrize(
    "more", [b"NaN", b"-Infinity", b"1e400", DEEP, b"[" * 5000, b"x", b'"\xff"']
)
async def test_half_a_character_makes_nothing_else_json(api: HttpApi, more: bytes) -> None:
    body = b'[{"key":"cut","value":["\\ud83d",%b]}]' % more
    assert (await api.call("POST", ST, body)).error[:2] == (400, "ERR_MALFORMED_REQUEST")


async def test_a_null_in_metadata_is_an_empty_text(api: HttpApi) -> None:
    entry = {"key": "n", "value": 1, "metadata": {"ttlInSeconds": None}}
    assert (await api.call("POST", ST, [entry])).status == 204
    asked = await api.call("POST", f"{ST}/bulk", {"keys": ["n"], "metadata": {"a": None}})
    assert asked.json[0]["data"] == 1


async def test_a_query_of_a_store_without_them_is_not_read(
    api: HttpApi, channel: GrpcChannel
) -> None:
    failed = await api.call("POST", "/v1.0-alpha1/state/st/query", b"{bad")
    assert failed.error[:2] == (500, "ERR_STATE_STORE_NOT_SUPPORTED")
    request = state_pb2.QueryStateRequest(store_name="st", query="{bad")
    _, text = await refused(channel, "QueryStateAlpha1", request)
    assert text == "state store does not support querying"


async def test_grpc_queries_are_objects(channel: GrpcChannel) -> None:
    request = state_pb2.QueryStateRequest(store_name="q", query="[]")
    _, text = await refused(channel, "QueryStateAlpha1", request)
    assert text == "state store q query failed: failed to parse JSON query body: not an object"


@pytest.mark.parametrize("ttl", ["1.5", " 5", "1_0", "\u0665", "x", str(2**63), "9" * 30, "0x5"])
async def test_times_to_live_that_are_no_whole_numbers(api: HttpApi, ttl: str) -> None:
    answer = await api.call("POST", ST, [{"key": "t", "metadata": {"ttlInSeconds": ttl}}])
    assert answer.error[:2] == (500, "ERR_STATE_SAVE")
    assert (await api.call("GET", f"{ST}/t")).status == 204


@pytest.mark.parametrize("ttl", ["+5", "5", str(2**31), "999999999999", str(2**63 - 1)])
async def test_times_to_live_up_to_the_end_of_the_calendar(api: HttpApi, ttl: str) -> None:
    entry = {"key": "t", "value": 1, "metadata": {"ttlInSeconds": ttl}}
    assert (await api.call("POST", ST, [entry])).status == 204
    found = await api.call("GET", f"{ST}/t")
    assert found.status == 200
    moment = datetime.fromisoformat(found.headers["metadata.ttlexpiretime"])
    assert moment > datetime.now(UTC)


async def test_unknown_words_of_options(api: HttpApi) -> None:
    for option, kind in (("concurrency", "concurrency"), ("consistency", "consistency")):
        entry = {"key": "a", "value": 1, "options": {option: "bogus"}}
        status, code, text = (await api.call("POST", ST, [entry])).error
        assert (status, code) == (500, "ERR_STATE_SAVE")
        assert text.endswith(f"unrecognized {kind} model 'bogus'")
    answer = await api.call("DELETE", f"{ST}/a?concurrency=bogus")
    assert answer.error[:2] == (500, "ERR_STATE_DELETE")


async def test_keys_with_the_separator(api: HttpApi, channel: GrpcChannel) -> None:
    text = "input key/keyPrefix 'a||b' can't contain '||'"
    for method, target, body in (
        ("GET", f"{ST}/a||b", b""),
        ("DELETE", f"{ST}/a||b", b""),
        ("POST", ST, [{"key": "a||b", "value": 1}]),
        ("POST", f"{ST}/bulk", {"keys": ["a||b"]}),
    ):
        answer = await api.call(method, target, body)
        expected = f"api error: code = InvalidArgument desc = {text}"
        assert answer.error == (400, "ERR_MALFORMED_REQUEST", expected)
        assert answer.json["details"][-1]["reason"] == "DAPR_STATE_ILLEGAL_KEY"
    get = state_pb2.GetStateRequest(store_name="st", key="a||b")
    assert await refused(channel, "GetState", get) == (GrpcCode.INVALID_ARGUMENT, text)


async def test_stores_that_are_not_there(api: HttpApi, channel: GrpcChannel) -> None:
    answer = await api.call("GET", "/v1.0/state/no/k")
    assert answer.error == (400, "ERR_STATE_STORE_NOT_FOUND", "state store no is not found")
    get = state_pb2.GetStateRequest(store_name="no", key="k")
    assert (await refused(channel, "GetState", get))[0] is GrpcCode.INVALID_ARGUMENT
    empty = StateBlock(make_context())
    answer = await HttpApi(routes(empty)).call("GET", "/v1.0/state/no/k")
    assert answer.error[:2] == (500, "ERR_STATE_STORE_NOT_CONFIGURED")
    async with grpc_api(methods(empty)) as other:
        assert (await refused(other, "GetState", get))[0] is GrpcCode.FAILED_PRECONDITION


async def test_failures_of_the_store(
    api: HttpApi, channel: GrpcChannel, scripted: Scripted
) -> None:
    scripted.failures["app1||k"] = [OSError("down") for _ in range(4)]
    answer = await api.call("GET", "/v1.0/state/bad/k")
    assert answer.error == (500, "ERR_STATE_GET", "fail to get k from state store bad: down")
    answer = await api.call("POST", "/v1.0/state/bad", [{"key": "k", "value": 1}])
    text = "failed saving state in state store bad: down"
    assert answer.error == (500, "ERR_STATE_SAVE", text)
    assert "details" not in answer.json
    answer = await api.call("DELETE", "/v1.0/state/bad/k")
    assert answer.error == (500, "ERR_STATE_DELETE", "failed deleting state with key k: down")
    save = state_pb2.SaveStateRequest(store_name="bad", states=[item("k")])
    with pytest.raises(RpcError) as caught:
        await channel.unary(SERVICE + "SaveState", save)
    assert (caught.value.code, caught.value.message) == (GrpcCode.INTERNAL, text)
    assert _reason(caught.value) == "ERR_STATE_SAVE"


async def test_grpc_items_that_are_wrong(channel: GrpcChannel) -> None:
    no_key = state_pb2.SaveStateRequest(store_name="st", states=[item("")])
    expected = (GrpcCode.INVALID_ARGUMENT, "state key cannot be empty")
    assert await refused(channel, "SaveState", no_key) == expected
    no_json = state_pb2.SaveStateRequest(
        store_name="st", states=[item("k", b"{", contentType="application/json")]
    )
    assert (await refused(channel, "SaveState", no_json))[0] is GrpcCode.INTERNAL


def _reason(error: RpcError) -> str:
    info = error_details_pb2.ErrorInfo()
    assert error.status().details[0].Unpack(info)
    return str(info.reason)
