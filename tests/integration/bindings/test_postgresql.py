"""Statements on a real PostgreSQL, also through the bindings API."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest
from harness.backends import Backend, Backends
from harness.block_api import HttpApi, loaded, make, make_context

from dapr_sidecar.api.http.bindings import routes
from dapr_sidecar.blocks.bindings.output import BindingsBlock
from dapr_sidecar.components.bindings.base import InvokeRequest, InvokeResponse
from dapr_sidecar.components.bindings.postgresql import PostgresBinding
from dapr_sidecar.components.postgresql.pool import PostgresError

Open = Callable[..., Awaitable[Any]]


@pytest.fixture
def postgres(backends: Backends) -> Backend:
    return backends.shared("postgres")


@pytest.fixture
async def open_binding(postgres: Backend) -> AsyncIterator[Open]:
    made: list[Any] = []

    async def run(**properties: str) -> Any:
        words = f"host=127.0.0.1 port={postgres.port} user=postgres dbname=postgres"
        given = properties if "url" in properties else {"connectionString": words, **properties}
        binding = make(PostgresBinding, "db", **given)
        made.append(binding)
        await binding.open()
        return binding

    yield run
    for binding in made:
        await binding.close()


@pytest.fixture
async def binding(open_binding: Open) -> Any:
    return await open_binding()


@pytest.fixture
async def table(binding: Any) -> AsyncIterator[str]:
    await call(binding, "exec", "DROP TABLE IF EXISTS foo")
    await call(binding, "exec", "CREATE TABLE foo (id bigint, c1 text, ts timestamptz)")
    yield "foo"
    await call(binding, "exec", "DROP TABLE foo")


async def call(binding: Any, operation: str, sql: str, params: object = None) -> InvokeResponse:
    metadata = {"sql": sql}
    if params is not None:
        metadata["params"] = params if isinstance(params, str) else json.dumps(params)
    found = await binding.invoke(InvokeRequest(operation, b"", metadata))
    assert isinstance(found, InvokeResponse)
    return found


async def value(binding: Any, sql: str, *params: object) -> Any:
    ((found,),) = json.loads((await call(binding, "query", sql, list(params))).data)
    return found


# --- exec and query ---------------------------------------------------------------------------


async def test_rows_affected(binding: Any, table: str) -> None:
    insert = "INSERT INTO foo (id, c1, ts) VALUES ($1, $2, $3)"
    found = await call(binding, "exec", insert, [1, "demo", "2020-09-24T11:45:05.25+02:00"])
    assert found.data == b""
    assert (found.metadata["operation"], found.metadata["sql"]) == ("exec", insert)
    assert found.metadata["rows-affected"] == "1"
    assert re.fullmatch(r"[0-9.]+(µs|ms|s)", found.metadata["duration"])
    start, end = (
        datetime.fromisoformat(found.metadata[name]) for name in ("start-time", "end-time")
    )
    assert start <= end
    assert found.metadata["start-time"].endswith("Z")
    await call(binding, "exec", insert, '[2, "two", null]')
    found = await call(binding, "exec", "UPDATE foo SET c1 = 'x'")
    assert found.metadata["rows-affected"] == "2"
    found = await call(binding, "exec", "CREATE TEMPORARY TABLE t (a int)")
    assert found.metadata["rows-affected"] == "0"


async def test_rows_are_lists(binding: Any, table: str) -> None:
    assert (await call(binding, "query", "SELECT * FROM foo")).data == b"[]"
    insert = "INSERT INTO foo VALUES ($1, $2, $3) RETURNING id"
    found = await call(binding, "query", insert, [2**60, "<a>", "2020-09-24T11:45:05+00:00"])
    assert found.data == b"[[%d]]" % 2**60
    await call(binding, "exec", insert, [3, None, None])
    found = await call(binding, "query", "SELECT * FROM foo ORDER BY id DESC")
    assert found.data == (
        b'[[1152921504606846976,"\\u003ca\\u003e","2020-09-24T11:45:05Z"],[3,null,null]]'
    )
    assert set(found.metadata) == {"operation", "sql", "start-time", "end-time", "duration"}


@pytest.mark.parametrize(
    ("expression", "given", "expected"),
    [
        ("$1::int", 5, 5),
        ("$1::int", "5", 5),
        ("$1::bigint", 2**62, 2**62),
        ("$1::numeric", "12345678901234567890.10", "n12345678901234567890.10"),
        ("$1::text", 5, "5"),
        ("$1::text", "'; DROP TABLE foo; --", "'; DROP TABLE foo; --"),
        ("$1::bool", "yes", True),
        ("$1::float4", 3.14, "n3.14"),
        ("$1::float8", 2.5, "n2.5"),
        ("$1::timestamptz", "2020-09-24 11:45:05 Europe/Berlin", "2020-09-24T09:45:05Z"),
        ("$1::timestamp", "2020-09-24 11:45:05", "2020-09-24T11:45:05Z"),
        ("$1::date", "24 Sep 2020", "2020-09-24T00:00:00Z"),
        ("$1::time", "4:05", "04:05:00"),
        ("$1::interval", "1 day 2 hours", "1 day 2:00:00"),
        (
            "$1::uuid",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ),
        ("$1::jsonb", {"a": [1, None]}, {"a": [1, None]}),
        ("$1::jsonb", '{"a": 1}', {"a": 1}),
        ("$1::bytea", "\\x00ff", "AP8="),
        ("$1::inet", "10.0.0.1", "10.0.0.1"),
        ("$1::int4range", "[1,5)", "[1,5)"),
        ("$1::bit(3)", "101", "101"),
        ("$1::int[]", [1, None, 3], [1, None, 3]),
        ("$1::int[]", "{1,2}", [1, 2]),
        ("$1::text[]", [["a", "b"], ["c", "d"]], [["a", "b"], ["c", "d"]]),
        ("$1::timestamptz[]", ["2020-01-01Z"], ["2020-01-01T00:00:00Z"]),
        ("$1::text", None, None),
        ("row(1, $1::text)::record", "a", [1, "a"]),
        ("'NaN'::float8 + $1", 1, "NaN"),
    ],
)
async def test_values_there_and_back(
    binding: Any, expression: str, given: object, expected: object
) -> None:
    found = await call(binding, "query", f"SELECT {expression}", [given])
    if isinstance(expected, str) and re.fullmatch(r"n[0-9.]+", expected):
        assert found.data == f"[[{expected[1:]}]]".encode()
    else:
        assert json.loads(found.data) == [[expected]]


async def test_so_many_texts_that_the_library_keeps_no_statement(binding: Any) -> None:
    """Reading them is then done where the statement itself was waiting."""
    count = 700
    columns = ", ".join(f"${number}::timestamptz" for number in range(1, count + 1))
    texts = [f"2020-01-01T{n // 60:02}:{n % 60:02}:00Z" for n in range(count)]
    found = await call(binding, "query", f"SELECT {columns}", texts)
    assert json.loads(found.data) == [texts]


async def test_a_whole_row_is_an_object(binding: Any, table: str) -> None:
    await call(binding, "exec", "INSERT INTO foo VALUES (1, 'a', '2020-01-01Z')")
    assert await value(binding, "SELECT foo FROM foo") == {
        "id": 1,
        "c1": "a",
        "ts": "2020-01-01T00:00:00Z",
    }


async def test_types_of_ones_own(binding: Any) -> None:
    await call(binding, "exec", 'DROP TYPE IF EXISTS "my mood"')
    await call(binding, "exec", "CREATE TYPE \"my mood\" AS ENUM ('sad', 'ok')")
    assert await value(binding, 'SELECT $1::"my mood"', "ok") == "ok"
    assert await value(binding, 'SELECT $1::"my mood"[]', ["ok", "sad"]) == ["ok", "sad"]
    await call(binding, "exec", 'DROP TYPE "my mood"')


@pytest.mark.parametrize("mode", ["cache_statement", "exec", "simple_protocol"])
async def test_modes(open_binding: Open, mode: str) -> None:
    binding = await open_binding(queryExecMode=mode)
    for number in range(3):
        text = f"2020-01-0{number + 1}T00:00:00Z"
        assert await value(binding, "SELECT $1::timestamptz", text) == text
        assert await value(binding, "SELECT $1::int", number) == number


# --- what goes wrong --------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["exec", "query"])
async def test_a_statement_has_to_be_there(binding: Any, operation: str) -> None:
    for metadata in ({}, {"sql": " "}):
        with pytest.raises(ValueError, match="missing metadata 'sql'"):
            await binding.invoke(InvokeRequest(operation, b"", metadata))


@pytest.mark.parametrize(
    ("sql", "params", "message"),
    [
        ("SELECT $1::int", "[1, 2]", "'params': expected 1 values for this statement, found 2"),
        ("SELECT $1::int", "", "'params': expected 1 values for this statement, found 0"),
        ("SELECT $1::int", "{}", "'params': expected a JSON list"),
        ("SELECT $1::int", '["x"]', 'invalid input syntax for type integer: "x"'),
        ("SELECT $1::int2", "[70000]", "int16"),
        ("SELECT $1::timestamptz", '["noon"]', "invalid input syntax for type timestamp"),
        ("SELECT nothing", "", 'column "nothing" does not exist'),
        ("SELECT 1; SELECT 2", "", "multiple commands"),
    ],
)
async def test_refusals(binding: Any, sql: str, params: str, message: str) -> None:
    with pytest.raises((ValueError, PostgresError), match=message):
        await call(binding, "query", sql, params)
    assert await value(binding, "SELECT 1") == 1, "the connection is still good"


async def test_a_statement_that_takes_too_long(open_binding: Open) -> None:
    binding = await open_binding(timeout="3s", maxConns="1")
    with pytest.raises(PostgresError, match="did not answer within 3 s"):
        await call(binding, "exec", "SELECT pg_sleep(30)")
    assert await value(binding, "SELECT 1") == 1


async def test_close_is_for_good(binding: Any) -> None:
    assert await binding.invoke(InvokeRequest("close", b"", {})) is None
    assert await binding.invoke(InvokeRequest("close", b"", {})) is None
    with pytest.raises(PostgresError, match="are closed"):
        await call(binding, "query", "SELECT 1")


async def test_the_old_name_of_the_connection_string(postgres: Backend, open_binding: Open) -> None:
    url = f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres"
    binding = await open_binding(url=url)
    assert await value(binding, "SELECT 1") == 1


# --- over HTTP --------------------------------------------------------------------------------


async def test_over_http(binding: Any) -> None:
    context = make_context()
    context.components.output_bindings["db"] = loaded("db", binding)
    api = HttpApi(routes(BindingsBlock(context)))
    path = "/v1.0/bindings/db"
    sql = "SELECT $1::int,\n$2::text"
    body = {"operation": "query", "metadata": {"sql": sql, "params": '[1, "a"]'}}
    answer = await api.call("POST", path, body)
    assert (answer.status, answer.body) == (200, b'[[1,"a"]]')
    assert answer.headers["metadata.operation"] == "query"
    assert answer.headers["metadata.sql"] == sql.replace("\n", " ")
    answer = await api.call("POST", path, {"operation": "exec", "metadata": {"sql": "SELECT 1"}})
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["metadata.rows-affected"] == "1"
    answer = await api.call("POST", path, {"operation": "exec"})
    assert answer.error[0] == 500
    assert "missing metadata 'sql'" in answer.error[2]
    answer = await api.call("POST", path, {"operation": "drop"})
    assert "supported operations:exec query close" in answer.error[2]
    assert (await api.call("POST", path, {"operation": "close"})).status == 204
