from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from asyncpg import Type

from dapr_sidecar.components.bindings.postgresql_values import (
    Cast,
    arguments,
    cast_statement,
    parameters,
    rfc3339,
    rows_json,
)


def kind(name: str, schema: str = "pg_catalog") -> Type:
    return Type(0, name, "scalar", schema)


def one(given: Any, type_name: str) -> Any:
    """The value a parameter is sent as, or how the server has to read it."""
    values, casts = arguments([given], [kind(type_name)])
    return casts[0] if casts else values[0]


def shown(value: Any, type_name: str) -> Any:
    return json.loads(rows_json([[value]], [kind(type_name)]), parse_float=Decimal)[0][0]


# --- parameters -------------------------------------------------------------------------------


def test_lists() -> None:
    assert parameters("") == parameters("  ") == parameters("[]") == []
    assert parameters('[1, "a", null, 1.10, 12345678901234567890]') == [
        *(1, "a", None, Decimal("1.10")),
        12345678901234567890,
    ]


@pytest.mark.parametrize("text", ["{}", '"a"', "1", "[1", "1,2", "[NaN]", "null"])
def test_what_is_no_list(text: str) -> None:
    with pytest.raises(ValueError, match="invalid metadata 'params': expected a JSON list"):
        parameters(text)


@pytest.mark.parametrize(
    ("given", "type_name", "value"),
    [
        (5, "int4", 5),
        (Decimal("5.0"), "int8", 5),
        (5, "float8", 5.0),
        (Decimal("0.1"), "float4", 0.1),
        (2**70, "numeric", Decimal(2**70)),
        (Decimal("1.10"), "numeric", Decimal("1.10")),
        (False, "bool", False),
        ("", "text", ""),
        (7, "varchar", "7"),
        (Decimal("1.10"), "text", "1.10"),
        (True, "text", "true"),
        ('{"a":1}', "jsonb", '{"a":1}'),
        ({"a": [1, None]}, "json", '{"a": [1, null]}'),
        (None, "timestamptz", None),
    ],
)
def test_what_is_sent_as_it_is(given: Any, type_name: str, value: Any) -> None:
    found = one(given, type_name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("given", "type_name", "value"),
    [
        ("2020-09-24T11:45:05Z", "timestamptz", "2020-09-24T11:45:05Z"),
        ("5", "int4", "5"),
        (Decimal("1.5"), "int4", "1.5"),
        (True, "int4", "true"),
        ("yes", "bool", "yes"),
        ([1, None, "b"], "text[]", ["1", None, "b"]),
        ([[1], [2]], "int4[]", [["1"], ["2"]]),
        ("{1,2}", "int4[]", "{1,2}"),
        ({"a": 1}, "uuid", '{"a": 1}'),
    ],
)
def test_what_the_server_reads(given: Any, type_name: str, value: Any) -> None:
    base = type_name.removesuffix("[]")
    expected = f'"pg_catalog"."{base}"' + type_name[len(base) :]
    assert one(given, type_name) == Cast(0, expected, value)


def test_the_statement_that_reads() -> None:
    values, casts = arguments(["a", 1, ["b"]], [kind('x"y', "s"), kind("int4"), kind("date[]")])
    assert values == [None, 1, None]
    assert cast_statement(casts) == (
        'SELECT $1::text::"s"."x""y", $2::text[]::"pg_catalog"."date"[]'
    )


def test_the_number_of_values_has_to_fit() -> None:
    with pytest.raises(ValueError, match="'params': expected 1 values for this statement, found 2"):
        arguments([1, 2], [kind("int4")])


# --- results ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "type_name", "expected"),
    [
        (None, "int4", None),
        (True, "bool", True),
        (2**63 - 1, "int8", 2**63 - 1),
        (5.0, "float8", 5),
        (0.1, "float8", Decimal("0.1")),
        (3.140000104904175, "float4", Decimal("3.14")),
        (float("nan"), "float8", "NaN"),
        (float("-inf"), "float4", "-Infinity"),
        (Decimal("12345678901234567890.10"), "numeric", Decimal("12345678901234567890.10")),
        (Decimal("1E+3"), "numeric", 1000),
        (Decimal("NaN"), "numeric", "NaN"),
        ('{"a": 12345678901234567890}', "jsonb", {"a": 12345678901234567890}),
        ('{"a": 1}', "text", '{"a": 1}'),
        (['{"a": 1}', None], "json[]", [{"a": 1}, None]),
        (datetime(2020, 9, 24, 11, 45, 5), "timestamp", "2020-09-24T11:45:05Z"),  # noqa: DTZ001
        (date(2020, 9, 24), "date", "2020-09-24T00:00:00Z"),
        (time(4, 5, 6), "time", "04:05:06"),
        (timedelta(days=1, hours=2), "interval", "1 day 2:00:00"),
        (b"\x00\xff", "bytea", "AP8="),
        (UUID(int=1), "uuid", "00000000-0000-0000-0000-000000000001"),
        ([[1, 2], [3, 4]], "int4[]", [[1, 2], [3, 4]]),
        ([1.5, 2.0], "float4[]", [Decimal("1.5"), 2]),
    ],
)
def test_results(value: Any, type_name: str, expected: Any) -> None:
    assert shown(value, type_name) == expected


def test_rows_are_lists_in_the_columns_order() -> None:
    types = [kind("int4"), kind("text")]
    assert rows_json([[1, "<a>"], [2, None]], types) == b'[[1,"\\u003ca\\u003e"],[2,null]]'
    assert rows_json([], types) == b"[]"


def test_times_as_go_writes_them() -> None:
    zone = timezone(timedelta(hours=2))
    assert rfc3339(datetime(2020, 1, 2, 3, 4, 5, 120000, zone)) == "2020-01-02T01:04:05.12Z"
    assert rfc3339(datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2020-01-02T03:04:05Z"
    assert rfc3339(datetime(800, 1, 2, tzinfo=UTC)) == "0800-01-02T00:00:00Z"
