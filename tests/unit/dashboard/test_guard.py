"""Whose requests are answered: names that cannot be somebody else's."""

from __future__ import annotations

import pytest

from dapr_dashboard.guard import Guard


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "LOCALHOST:1",
        "127.0.0.1:8080",
        "[::1]:8080",
        "[::1]",
        "10.0.0.7",
    ],
)
def test_ours(host: str) -> None:
    assert Guard().allows(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "localhost:8080@evil.example",
        "127.0.0.1.evil.example:80",
        "localhost:",
        "[::1",
        "[::1]evil:80",
        "[evil.example]",
    ],
)
def test_not_ours(host: str) -> None:
    assert not Guard().allows(host)


def test_names_that_were_given() -> None:
    guard = Guard(["Dapr.Example", ""])
    assert guard.allows("dapr.example:80")
    assert not guard.allows("")
