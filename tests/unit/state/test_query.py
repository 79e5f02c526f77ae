from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

import pytest
from harness.block_api import HttpApi, loaded, make, make_context
from harness.redis_server import redis_server
from hypothesis import given
from hypothesis import strategies as st

from dapr_sidecar.api.http.state import routes
from dapr_sidecar.blocks.state.block import StateBlock
from dapr_sidecar.blocks.state.rules import StoreRules
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.redis.connection import RedisError
from dapr_sidecar.components.state.base import BulkGetItem, Feature
from dapr_sidecar.components.state.query import QueryError, parse_query
from dapr_sidecar.components.state.redis import RedisStateStore
from dapr_sidecar.components.state.redis_query import (
    next_token,
    parse_indexes,
    read_reply,
    search,
)

INDEXES = """[{"name":"people","indexes":[
    {"key":"person.org","type":"TEXT"},{"key":"state","type":"TEXT"},{"key":"age","type":"NUMERIC"}]}]"""
PEOPLE = parse_indexes(INDEXES)["people"]
RETURN = ("RETURN", 2, "$.data", "$.version")


def command(filter: Any = None, **more: Any) -> tuple[str | int, ...]:  # noqa: A002
    return search(PEOPLE, parse_query({"filter": filter, **more}))


def expression(filter: Any) -> str | int:  # noqa: A002
    return command(filter)[2]


def test_an_index_is_made_and_removed_by_these_commands() -> None:
    assert PEOPLE.create() == (
        *("FT.CREATE", "people", "ON", "JSON", "SCHEMA"),
        *("$.data.person.org", "AS", "var0", "TEXT", "SORTABLE"),
        *("$.data.state", "AS", "var1", "TEXT", "SORTABLE"),
        *("$.data.age", "AS", "var2", "NUMERIC", "SORTABLE"),
    )
    assert PEOPLE.drop() == ("FT.DROPINDEX", "people")
    assert parse_indexes("") == {}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        "[1]",
        '[{"name":"x"}]',
        '[{"name":"x","indexes":[]}]',
        '[{"name":"","indexes":[{"key":"a","type":"TEXT"}]}]',
        '[{"name":"x","indexes":[{"key":"a","type":1}]}]',
        '[{"name":"x","indexes":[{"key":"a","type":"TEXT"},{"key":"a","type":"TEXT"}]}]',
    ],
)
def test_bad_indexes_are_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match="queryIndexes"):
        parse_indexes(text)


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (None, "*"),
        ({}, "*"),
        ({"EQ": {"person.org": "Ops"}}, "@var0:(Ops)"),
        ({"EQ": {"age": 5}}, "@var2:[5 5]"),
        ({"EQ": {"age": 1.5}}, "@var2:[1.5 1.5]"),
        ({"NEQ": {"state": "CA"}}, "-(@var1:(CA))"),
        ({"NEQ": {"age": -1}}, "-(@var2:[-1 -1])"),
        ({"GT": {"age": 5}}, "@var2:[(5 +inf]"),
        ({"GTE": {"age": 5}}, "@var2:[5 +inf]"),
        ({"LT": {"age": 5}}, "@var2:[-inf (5]"),
        ({"LTE": {"age": 5}}, "@var2:[-inf 5]"),
        ({"IN": {"state": ["CA", "WA"]}}, "@var1:(CA|WA)"),
        ({"IN": {"state": ["New York", "WA"]}}, "@var1:((New York)|WA)"),
        ({"IN": {"age": [1, 2]}}, "(@var2:[1 1]|@var2:[2 2])"),
        ({"AND": [{"EQ": {"state": "CA"}}, {"GT": {"age": 5}}]}, "@var1:(CA) @var2:[(5 +inf]"),
        (
            {"OR": [{"EQ": {"state": "CA"}}, {"AND": [{"EQ": {"age": 1}}, {"EQ": {"age": 2}}]}]},
            "@var1:(CA)|(@var2:[1 1] @var2:[2 2])",
        ),
        (
            {"AND": [{"OR": [{"EQ": {"age": 1}}, {"EQ": {"age": 2}}]}, {"IN": {"age": [3, 4]}}]},
            "(@var2:[1 1]|@var2:[2 2]) (@var2:[3 3]|@var2:[4 4])",
        ),
    ],
)
def test_a_filter_becomes_this_expression(filter: Any, expected: str) -> None:  # noqa: A002
    assert expression(filter) == expected


def test_sort_and_pages() -> None:
    assert command() == ("FT.SEARCH", "people", "*", *RETURN)
    assert command(sort=[{"key": "age", "order": "DESC"}]) == (
        *("FT.SEARCH", "people", "*", "SORTBY", "var2", "DESC"),
        *RETURN,
    )
    assert command(sort=[{"key": "age"}], page={"limit": 3, "token": "6"}) == (
        *("FT.SEARCH", "people", "*", "SORTBY", "var2", "LIMIT", 6, 3),
        *RETURN,
    )
    assert next_token(parse_query({"page": {"limit": 3, "token": "6"}}), 2) == "8"
    assert next_token(parse_query({"page": {"limit": 3}}), 3) == "3"
    assert next_token(parse_query({}), 3) == ""


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"filter": []}, None),
        ({"filter": 5}, "a filter must be an object"),
        ({"filter": {"EQ": {"age": 1}, "GT": {"age": 1}}}, "one operator"),
        ({"filter": {"LIKE": {"age": 1}}}, "unsupported filter LIKE"),
        ({"filter": {"EQ": {"age": 1, "state": "CA"}}}, "one key"),
        ({"filter": {"EQ": {"age": [1]}}}, "neither text nor number"),
        ({"filter": {"EQ": {"name": "x"}}}, "has no key 'name'"),
        ({"filter": {"EQ": {"age": True}}}, "True"),
        ({"filter": {"GT": {"state": "x"}}}, "redis indexes texts and numbers"),
        ({"filter": {"EQ": {"state": "||"}}}, "without letters"),
        ({"filter": {"IN": {"state": ["CA"]}}}, "at least two values"),
        ({"filter": {"IN": {"state": []}}}, "no values"),
        ({"filter": {"IN": {"state": "CA"}}}, "must be an array"),
        ({"filter": {"AND": [{"EQ": {"age": 1}}]}}, "at least two filters"),
        ({"filter": {"OR": {"EQ": {"age": 1}}}}, "must be an array"),
        ({"sort": [{"key": "age"}, {"key": "state"}]}, "one key only"),
        ({"sort": [{"key": "none"}]}, "has no key 'none'"),
        ({"sort": [{"order": "DESC"}]}, "needs a key"),
        ({"sort": [{"key": "age", "order": "down"}]}, "ASC or DESC"),
        ({"page": {"limit": -1}}, "whole number"),
        ({"page": {"limit": True}}, "whole number"),
        ({"page": {"limit": 1, "token": 3}}, "must be a string"),
        ({"page": {"limit": 1, "token": "x"}}, "not one of this store's"),
    ],
)
def test_what_a_query_may_not_say(body: dict[str, object], text: str | None) -> None:
    if text is None:
        assert search(PEOPLE, parse_query(body))[2] == "*"
        return
    with pytest.raises(QueryError, match=text):
        search(PEOPLE, parse_query(body))


def test_a_filter_without_end_is_refused() -> None:
    inner: Any = {"EQ": {"age": 1}}
    for _ in range(70):
        inner = {"AND": [inner, {"EQ": {"age": 1}}]}
    with pytest.raises(QueryError, match="too deeply"):
        parse_query({"filter": inner})


@given(st.text(min_size=1))
def test_no_text_breaks_out_of_its_place(text: str) -> None:
    try:
        found = str(expression({"EQ": {"state": text}}))
    except QueryError:
        assert not any(letter.isalnum() or letter == "_" for letter in text)
        return
    inner = found.removeprefix("@var1:(").removesuffix(")")
    assert all(letter.isalnum() or letter in "_ " for letter in inner)
    assert inner.strip()


def test_a_reply_becomes_items() -> None:
    reply = [
        3,
        b"app||k1",
        [b"$.data", b'{"a":1}', b"$.version", b"2"],
        b"app||k2",
        [b"$.version", b"2"],
        b"k3",
        [b"$.data", b"1"],
    ]
    assert read_reply(reply) == [
        BulkGetItem("app||k1", b'{"a":1}', "2"),
        BulkGetItem("app||k2", error="the record has no data"),
        BulkGetItem("k3", b"1"),
    ]
    assert read_reply([0]) == []


# --- the store, with a client that answers as RediSearch does: no server here has the module ----


class SearchServer:
    """Records commands and answers like a server with the modules JSON and RediSearch."""

    def __init__(self) -> None:
        self.commands: list[tuple[str | int, ...]] = []
        self.answers: dict[str, Any] = {
            "JSON.GET": RedisError("ERR wrong number of arguments for 'JSON.GET' command"),
            "INFO": b"connected_slaves:0",
            "FT.DROPINDEX": RedisError("Unknown Index name"),
            "FT.CREATE": b"OK",
            "FT.SEARCH": [1, b"app1||k", [b"$.data", b'{"age":5}', b"$.version", b"1"]],
        }

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def command(self, *arguments: str | int) -> Any:
        self.commands.append(arguments)
        answer = self.answers[str(arguments[0])]
        if isinstance(answer, Exception):
            raise answer
        return answer


def make_store(server: SearchServer) -> RedisStateStore:
    store: RedisStateStore = make(RedisStateStore, redisHost="localhost:1", queryIndexes=INDEXES)
    store._client = server  # type: ignore[assignment]
    return store


def api_of(store: RedisStateStore) -> HttpApi:
    block = StateBlock(make_context())
    block.context.components.state["st"] = loaded("st", store, StoreRules("app1||", None, None))
    return HttpApi(routes(block))


async def query(api: HttpApi, body: Mapping[str, Any], index: str = "people") -> Any:
    path = f"/v1.0-alpha1/state/st/query?metadata.queryIndexName={index}"
    return await api.call("POST", path, body)


async def test_without_a_real_redisearch_module_the_commands_are_those_of_the_reference() -> None:
    server = SearchServer()
    store = make_store(server)
    await store.open()
    assert server.commands[2:] == [PEOPLE.drop(), PEOPLE.create()]
    assert store.feature_order[-1] is Feature.QUERY_API
    assert RedisStateStore.feature_order[-1] is Feature.KEYS_LIKE
    answer = await query(api_of(store), {"filter": {"GT": {"age": 4}}, "page": {"limit": 1}})
    assert answer.json == {"results": [{"key": "k", "data": {"age": 5}, "etag": "1"}], "token": "1"}
    assert server.commands[-1] == (
        *("FT.SEARCH", "people", "@var2:[(4 +inf]", "LIMIT", 0, 1),
        *RETURN,
    )
    server.answers["FT.SEARCH"] = [0]
    assert (await query(api_of(store), {})).status == 204


async def test_without_a_real_redisearch_module_failures_are_told() -> None:
    server = SearchServer()
    store = make_store(server)
    await store.open()
    api = api_of(store)
    expected = (500, "ERR_STATE_QUERY")
    assert (await query(api, {}, "none")).error[:2] == expected
    assert (await query(api, {"filter": {"EQ": {"none": 1}}})).error[:2] == expected
    server.answers["FT.SEARCH"] = RedisError("people: no such index")
    answer = await query(api, {})
    assert answer.error == (*expected, "state store st query failed: people: no such index")
    server.answers["FT.CREATE"] = RedisError("Index already exists")
    await make_store(server).open()  # another sidecar was first
    server.answers["FT.CREATE"] = RedisError("Invalid field type")
    with pytest.raises(RedisError, match="Invalid field type"):
        await make_store(server).open()


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
async def test_a_redis_server_without_the_modules_says_so() -> None:
    with redis_server() as server:
        store: RedisStateStore = make(RedisStateStore, redisHost=server.address)
        await store.open()
        answer = await query(api_of(store), {"filter": {"EQ": {"age": 1}}})
        await store.close()
        assert answer.error[:2] == (500, "ERR_STATE_QUERY")
        assert answer.json["details"][1]["reason"] == "DAPR_STATE_QUERY_FAILED"
        assert Feature.QUERY_API not in store.features
        indexed = make(RedisStateStore, redisHost=server.address, queryIndexes=INDEXES)
        with pytest.raises(RedisError, match="RediSearch"):
            await indexed.open()
        await indexed.close()
