"""What every secret store promises, run against each of them."""

from __future__ import annotations

from typing import cast

import pytest
from harness.component_table import Maker

from dapr_sidecar.components.secretstores.base import SecretStore

KIND = "secretstores"


@pytest.fixture
async def store(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> SecretStore:
    for name, value in maker.entry.get("environment", {}).items():
        monkeypatch.setenv(name, value)
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


async def test_nothing_secret_is_shown(maker: Maker, store: SecretStore) -> None:
    shown = repr(store) + repr(store._settings)
    assert not any(value in shown for value in maker.entry["known"].values())


async def test_closed_twice(store: SecretStore) -> None:
    await store.ping()
    await store.close()
    await store.close()
