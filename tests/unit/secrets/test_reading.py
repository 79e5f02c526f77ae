"""Reading all secrets of a store that gives one at a time; values as texts; paths of a Vault."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_sidecar.components.secretstores.reading import as_text, as_texts, read_all
from dapr_sidecar.components.secretstores.vault_engine import KvEngine


async def test_all_are_read_a_few_at_once() -> None:
    now = most = 0

    async def read(name: str) -> dict[str, str]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return {name: "v"}

    names = [f"n{number:03}" for number in range(100)]
    found = await read_all([*names, "n000"], read)
    assert list(found) == names
    assert found["n007"] == {"n007": "v"}
    assert 1 < most <= 8


async def test_what_is_gone_is_left_out_and_what_fails_ends_it() -> None:
    async def read(name: str) -> dict[str, str]:
        if name == "gone":
            raise LookupError("secret gone not found")
        if name == "closed":
            raise PermissionError("not allowed")
        return {name: "v"}

    assert await read_all(["a", "gone", "b"], read) == {"a": {"a": "v"}, "b": {"b": "v"}}
    assert await read_all([], read) == {}
    with pytest.raises(RuntimeError, match="secret closed: not allowed"):
        await read_all(["a", "closed", "b"], read)


async def test_a_failure_ends_the_other_reads() -> None:
    ended: list[str] = []

    async def read(name: str) -> dict[str, str]:
        if name == "bad":
            await asyncio.sleep(0)
            raise OSError("down")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)
        return {}

    with pytest.raises(RuntimeError, match="secret bad: down"):
        await read_all(["a", "bad", "b"], read)
    assert sorted(ended) == ["a", "b"]


async def test_who_gives_up_leaves_nothing_running() -> None:
    ended: list[str] = []

    async def read(name: str) -> dict[str, str]:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)
        return {}

    reading = asyncio.ensure_future(read_all(["a", "b"], read))
    await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert sorted(ended) == ["a", "b"]


def test_values_as_texts() -> None:
    given = {"s": "é", "n": 12345678901234567890, "t": True, "z": None, "o": {"a": [1, "é"]}}
    assert as_texts(given) == {
        "s": "é",
        "n": "12345678901234567890",
        "t": "true",
        "z": "null",
        "o": '{"a":[1,"é"]}',
    }
    assert as_text({"a": "b"}) == '{"a":"b"}'


# --- where secrets are in a Vault ---------------------------------------------------------------

ENGINES = [
    (KvEngine("secret", 2, "dapr"), "secret/data/dapr/a/b", "secret/metadata/dapr"),
    (KvEngine("secret", 2, ""), "secret/data/a/b", "secret/metadata"),
    (KvEngine("team/kv", 1, "dapr/x"), "team/kv/dapr/x/a/b", "team/kv/dapr/x"),
    (KvEngine("kv", 1, ""), "kv/a/b", "kv"),
]


@pytest.mark.parametrize(("engine", "secret", "folder"), ENGINES)
def test_paths(engine: KvEngine, secret: str, folder: str) -> None:
    assert engine.secret("a/b", "") == secret
    assert engine.listing() == folder + "?list=true"
    assert engine.listing("x/y/") == folder + "/x/y?list=true"


def test_names_are_quoted() -> None:
    assert ENGINES[0][0].secret("ü?version=1#x %", "") == (
        "secret/data/dapr/%C3%BC%3Fversion%3D1%23x%20%25"
    )


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "..", "../other", "a/../b", "a/.", "."])
def test_names_that_lead_elsewhere(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a secret: expected"):
        ENGINES[0][0].secret(name, "")


@given(st.text(min_size=1))
def test_no_name_leaves_the_folder(name: str) -> None:
    try:
        path = ENGINES[0][0].secret(name, "")
    except (ValueError, UnicodeEncodeError):
        return
    rest = path.removeprefix("secret/data/dapr/")
    assert path.startswith("secret/data/dapr/")
    assert not {".", "..", ""} & set(rest.split("/"))
    assert not set(rest) & set("?#\\ \r\n")


def test_versions() -> None:
    two, one = ENGINES[0][0], ENGINES[3][0]
    assert two.secret("a", "7") == "secret/data/dapr/a?version=7"
    for wrong in ("x", "-1", "1&list=true", "²"):
        with pytest.raises(ValueError, match=r"'version_id': .* expected a whole number"):
            two.secret("a", wrong)
    with pytest.raises(ValueError, match="version 1 and keeps no versions"):
        one.secret("a", "1")


def test_values_of_an_answer() -> None:
    two, one = ENGINES[0][0], ENGINES[3][0]
    assert two.values({"data": {"a": "b"}, "metadata": {}}) == {"a": "b"}
    assert two.values({"data": None, "metadata": {"destroyed": True}}) is None
    assert one.values({"a": "b"}) == {"a": "b"}
