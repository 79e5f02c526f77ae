from __future__ import annotations

import pytest

from dapr_common.kube.validation.near import Hints, edits, nearest


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [
        ("redis", "redis", 0),
        ("redis", "reddis", 1),
        ("redis", "rdeis", 1),  # swapped
        ("redis", "radio", 2),
        ("consul", "consl", 1),
        ("", "ab", 2),
        ("a", "abcd", 3),
    ],
)
def test_edits(one: str, other: str, count: int) -> None:
    assert edits(one, other) == edits(other, one) == count


def test_short_words_are_taken_at_their_word() -> None:
    assert nearest("bindings.smtp", ["bindings.http"]) == ""
    assert nearest("bindings.htp", ["bindings.http"]) == "bindings.http"
    assert nearest("redisHsto", ["redisHost"]) == "redisHost"
    assert nearest("host", ["redisHost"]) == ""


def test_the_nearest_wins() -> None:
    assert nearest("readTimeou", ["dialTimeout", "readTimeout", "readTimeouts"]) == "readTimeout"


def test_more_than_two_letters_are_many() -> None:
    assert edits("a" * 50, "b" * 50) == 3
    assert edits("abcdefgh", "badcfehg") == 3, "four swaps"


def test_one_object_gets_so_many_hints() -> None:
    """A thousand names that all have to be compared with a thousand others."""
    hints, known = Hints(), [f"policy{n:04}" for n in range(1000)]
    found = [hints.did_you_mean(f"polciy{n:04}", known) for n in range(1000)]
    assert found[0] == ', did you mean "policy0000"?'
    assert found[10:] == [""] * 990
