"""Secret stores that are down, silent or cut off: a clear error within a bounded time, and work
again as soon as they are back.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from harness.backends import Backend, Backends
from harness.component_table import TABLE, Maker, Services, entry_id, running_services
from harness.proxy import Proxy
from harness.proxy import proxy as run_proxy
from harness.secret_preparations import prepare

# A store's own deadline is 4 seconds; the machine may be busy.
_PATIENCE = 30.0
ENTRIES = [
    entry
    for entry in TABLE["secretstores"]
    if entry.get("backend") and entry.get("variant") != "multipleKeyValuesPerSecret"
]
services = pytest.fixture(scope="module")(running_services)


class Setting:
    """One store behind a line that can be cut."""

    def __init__(self, maker: Maker, line: Proxy) -> None:
        self.maker, self.line = maker, line
        self.name, self.value = next(iter(maker.entry["known"].items()))
        field = "vaultAddr" if "vaultAddr" in maker.entry["metadata"] else "endpoint"
        behind = maker.properties({})[field].replace(maker.variables["backend"], line.address)
        self.metadata = {field: behind}

    async def open(self) -> Any:
        return await self.maker.component(**self.metadata)

    async def works(self, store: Any) -> None:
        assert await store.get(self.name, {}) == {self.name: self.value}


@pytest.fixture(params=ENTRIES, ids=map(entry_id, ENTRIES))
async def setting(
    request: pytest.FixtureRequest,
    tmp_path: Any,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Setting]:
    maker = Maker(request.param, tmp_path, services)
    for name, value in maker.filled(maker.entry.get("environment", {})).items():
        monkeypatch.setenv(name, value)
    await prepare(maker)
    async with run_proxy(int(maker.variables["port"])) as line:
        yield Setting(maker, line)
        await maker.close()


async def refused(asked: Any, line: Proxy) -> str:
    """The text of a failure that came in time, with the address and without secrets."""
    with pytest.raises(Exception, match=re.escape(line.address)) as caught:
        await asyncio.wait_for(asked, _PATIENCE)
    assert not isinstance(caught.value, LookupError | TimeoutError)
    text = str(caught.value)
    assert "v4lu3" not in text
    return text


async def test_down_when_it_is_loaded(setting: Setting) -> None:
    setting.line.refuse()
    assert re.search("refused|reached", await refused(setting.open(), setting.line))


async def test_silent_when_it_is_loaded(setting: Setting) -> None:
    setting.line.hold()
    text = await refused(setting.open(), setting.line)
    assert re.search("no answer within|reached|time", text, re.IGNORECASE), text


async def test_down_when_it_is_asked(setting: Setting) -> None:
    store = await setting.open()
    await setting.works(store)
    setting.line.refuse()
    await refused(store.get(setting.name, {}), setting.line)
    await refused(store.bulk_get({}), setting.line)
    await refused(store.ping(), setting.line)
    await setting.line.start()
    async with asyncio.timeout(_PATIENCE):
        while True:  # a gRPC channel waits a little before it connects again
            try:
                await setting.works(store)
                return
            except Exception:  # noqa: BLE001 - whatever the store says while it is not back
                await asyncio.sleep(0.1)


async def test_silent_when_it_is_asked(setting: Setting) -> None:
    store = await setting.open()
    setting.line.hold()
    text = await refused(store.get(setting.name, {}), setting.line)
    assert "no answer within" in text
    setting.line.release()
    setting.line.cut()
    await setting.works(store)


async def test_many_callers_and_a_cut_line(setting: Setting) -> None:
    """Nobody waits for ever, and nobody gets another's secret."""
    store = await setting.open()
    names = list(setting.maker.entry["known"])
    asked = [asyncio.ensure_future(store.get(names[n % len(names)], {})) for n in range(60)]
    await asyncio.sleep(0)
    setting.line.cut()
    done = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), _PATIENCE)
    known = setting.maker.entry["known"]
    for number, found in enumerate(done):
        name = names[number % len(names)]
        assert isinstance(found, Exception) or found == {name: known[name]}
    await setting.works(store)


async def test_a_caller_that_gives_up(setting: Setting) -> None:
    store = await setting.open()
    setting.line.hold()
    asked = asyncio.ensure_future(store.bulk_get({}))
    await asyncio.sleep(0.05)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    setting.line.release()
    await setting.works(store)


async def test_a_server_that_is_killed_and_comes_back(backends: Backends) -> None:
    """The Vault of the kit forgets everything with its process: its engine is asked for anew."""
    from harness.block_api import make
    from harness.secret_preparations import vault_call

    from dapr_sidecar.components.secretstores.vault import VaultSecretStore

    with Backend("vault") as server:
        facts = {"backend": server.address, **server.facts}
        store = make(VaultSecretStore, vaultAddr=f"http://{server.address}", vaultToken="root")
        await store.open()
        await asyncio.to_thread(server.kill)
        with pytest.raises(Exception, match=f"Vault at {server.address} cannot be reached"):
            await store.get("a", {})
        await asyncio.to_thread(server.restart)
        vault_call(facts, "POST", "secret/data/dapr/a", {"data": {"v": "1"}})
        assert await store.get("a", {}) == {"v": "1"}
        await store.close()
