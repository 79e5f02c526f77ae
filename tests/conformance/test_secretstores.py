"""What every secret store promises, run against each of them."""

from __future__ import annotations

import time
from typing import cast

import pytest
from harness.component_table import Maker
from harness.secret_preparations import prepare, write

from dapr_sidecar.components.secretstores.base import SecretStore

KIND = "secretstores"


@pytest.fixture
async def store(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> SecretStore:
    for name, value in maker.filled(maker.entry.get("environment", {})).items():
        monkeypatch.setenv(name, value)
    await prepare(maker)
    return cast(SecretStore, await maker.component())


async def test_get(maker: Maker, store: SecretStore) -> None:
    for name, value in maker.entry["known"].items():
        assert await store.get(name, {}) == {name: value}


async def test_missing(maker: Maker, store: SecretStore) -> None:
    if maker.entry["missing"] == "empty":
        assert await store.get("NO_SUCH_SECRET", {}) == {"NO_SUCH_SECRET": ""}
        return
    with pytest.raises(LookupError, match="NO_SUCH_SECRET") as caught:
        await store.get("NO_SUCH_SECRET", {})
    assert not any(value in str(caught.value) for value in maker.entry["known"].values())


async def test_bulk(maker: Maker, store: SecretStore) -> None:
    found = await store.bulk_get({})
    assert found is not None
    for name, value in maker.entry["known"].items():
        assert found[name] == {name: value}
    assert "NO_SUCH_SECRET" not in found


async def test_answers_are_the_callers_own(maker: Maker, store: SecretStore) -> None:
    name = next(iter(maker.entry["known"]))
    found, every = await store.get(name, {}), await store.bulk_get({})
    assert found is not None
    assert every is not None
    found.clear()
    every[name].clear()
    assert await store.get(name, {}) == {name: maker.entry["known"][name]}


async def test_secrets_of_several_keys(maker: Maker, store: SecretStore) -> None:
    maker.require("MULTIPLE_KEY_VALUES_PER_SECRET")
    assert store.capabilities() == ["MULTIPLE_KEY_VALUES_PER_SECRET"]
    for name, values in maker.entry["several"].items():
        assert await store.get(name, {}) == values


async def test_an_older_version(maker: Maker, store: SecretStore) -> None:
    maker.require("versions")
    name = f"versioned{time.monotonic_ns()}"
    first = await write(maker, name, {name: "old"})
    second = await write(maker, name, {name: "new"})
    assert await store.get(name, {}) == {name: "new"}
    for version, value in ((first or "1", "old"), (second or "2", "new")):
        assert await store.get(name, {"version_id": version}) == {name: value}
    with pytest.raises(LookupError, match=name):
        await store.get(name, {"version_id": maker.entry["no_version"]})


async def test_metadata_of_others_changes_nothing(maker: Maker, store: SecretStore) -> None:
    """``secretKeyRef`` sends the resource's namespace to whatever store it names."""
    if "kube" in maker.entry.get("needs", ""):
        pytest.skip("namespaces are its own")
    for name, value in maker.entry["known"].items():
        assert await store.get(name, {"namespace": "elsewhere"}) == {name: value}


async def test_bulk_of_many(maker: Maker, store: SecretStore) -> None:
    """More than a page of any listing."""
    maker.require("versions")
    names = [f"many{number}" for number in range(120)]
    for name in names:
        await write(maker, name, {name: "m"})
    found = await store.bulk_get({})
    assert found is not None
    assert {name: found[name] for name in names} == {name: {name: "m"} for name in names}


async def test_nothing_secret_is_shown(maker: Maker, store: SecretStore) -> None:
    shown = repr(store) + repr(store._settings)
    assert not any(value in shown for value in maker.entry["known"].values())


async def test_closed_twice(store: SecretStore) -> None:
    await store.ping()
    await store.close()
    await store.close()
