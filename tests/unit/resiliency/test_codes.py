from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_common.resiliency.codes import parse_codes


def test_lists_and_ranges() -> None:
    found = parse_codes("429, 500-599", "1-4,14")
    assert [code for code in (428, 429, 499, 500, 599) if found.allows(code)] == [429, 500, 599]
    assert [code for code in range(17) if found.allows(code)] == [1, 2, 3, 4, 14]


def test_an_absent_list_allows_every_code_of_its_protocol() -> None:
    assert parse_codes("500", " ").allows(14)
    assert not parse_codes("500", "").allows(404)
    assert parse_codes("", "").allows(404)


def test_a_code_of_neither_protocol_is_retried() -> None:
    found = parse_codes("500", "1")
    assert found.allows(600)
    assert found.allows(42)


@pytest.mark.parametrize(
    "text", ["99", "600", "x", "500,", "500-", "-500", "510-500", "5 00", "\u0665\u0660\u0660"]
)
def test_bad_http_codes(text: str) -> None:
    with pytest.raises(ValueError, match="httpStatusCodes"):
        parse_codes(text, "")


@pytest.mark.parametrize("text", ["17", "1-17", "a"])
def test_bad_grpc_codes(text: str) -> None:
    with pytest.raises(ValueError, match="gRPCStatusCodes"):
        parse_codes("", text)


@given(st.sets(st.integers(100, 599), min_size=1), st.integers(100, 599))
def test_exactly_the_listed_codes(listed: set[int], code: int) -> None:
    assert parse_codes(",".join(map(str, listed)), "").allows(code) is (code in listed)
