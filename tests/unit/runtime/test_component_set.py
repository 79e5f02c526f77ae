"""Components brought about: secret stores first, the latest wish wins, failures tried again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from harness.block_api import make_context

from dapr_common.kube.resources import Component, NameValue, SecretKeyRef
from dapr_sidecar.components.state.memory import InMemoryStateStore
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.runtime.component_set import ComponentSet
from dapr_sidecar.runtime.opening import InitError
from dapr_sidecar.runtime.processor import ComponentProcessor
from dapr_sidecar.runtime.statuses import StatusBook
from dapr_sidecar.runtime.templates import ValueResolver


class Components(ComponentSet):
    """A set with everything around it; ``changes`` are the names it told of."""

    def __init__(self) -> None:
        self.context: SidecarContext = make_context()
        self.book = StatusBook()
        self.changes: list[str] = []
        self.live = ComponentProcessor(self.context, ValueResolver("app", "", {}), {})
        super().__init__(self.live, self.book, self._told)

    async def _told(self, manifest: Component) -> None:
        self.changes.append(manifest.name)

    def state(self, name: str) -> str:
        return self.book.entries["Component", name].state

    async def until(self, name: str, state: str) -> None:
        async with asyncio.timeout(20):
            while ("Component", name) not in self.book.entries or self.state(name) != state:
                self.book.changed.clear()
                await self.book.changed.wait()

    async def end(self) -> None:
        await self.close()
        await self.live.close()


class GatedStore(InMemoryStateStore):
    """Opens when its gate is open; ``broken`` names fail until they are taken from there."""

    gates: ClassVar[dict[str, asyncio.Event]] = {}
    broken: ClassVar[set[str]] = set()
    opening: ClassVar[list[str]] = []
    closed: ClassVar[list[str]] = []

    async def open(self) -> None:
        version = self._context.properties["version"]
        self.opening.append(version)
        if version in self.gates:
            await self.gates[version].wait()
        if version in self.broken:
            raise OSError(f"{version} cannot be reached")

    async def close(self) -> None:
        self.closed.append(self._context.properties["version"])


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> type[GatedStore]:
    for table in (GatedStore.gates, GatedStore.broken, GatedStore.opening, GatedStore.closed):
        table.clear()
    monkeypatch.setattr("dapr_sidecar.components.finding.component_class", lambda *_: GatedStore)
    monkeypatch.setattr("dapr_sidecar.runtime.component_set._FIRST_RETRY_SECONDS", 0.02)
    return GatedStore


def store(version: str, name: str = "a", **more: Any) -> Component:
    return Component(name, "state.x", metadata=(NameValue("version", version),), **more)


def waiting(name: str, kind: str) -> Component:
    reference = NameValue("any", secret_key_ref=SecretKeyRef("s", "s"))
    return Component(name, kind, metadata=(reference,), secret_store="vault")


def vault(tmp_path: Path) -> Component:
    secrets = tmp_path / "secrets.json"
    secrets.write_text(json.dumps({"s": "1"}))
    settings = (NameValue("secretsFile", str(secrets)),)
    return Component("vault", "secretstores.local.file", metadata=settings)


async def test_they_come_with_it_and_one_that_fails_keeps_no_other_from_loading(
    tmp_path: Path,
) -> None:
    components = Components()
    bad, good = waiting("bad", "state.nope"), waiting("good", "state.in-memory")
    await components.load([bad, good], strict=True)
    assert (components.state("bad"), components.state("good")) == ("pending", "pending")
    assert list(components.live.manifests) == []

    components.reconcile([bad, good, vault(tmp_path)])
    await components.until("good", "loaded")
    await components.until("bad", "failed")
    assert "good" in components.context.components.state
    assert sorted(components.changes) == ["good", "vault"]
    await components.end()


async def test_at_the_start_the_store_may_stand_behind_them(tmp_path: Path) -> None:
    components = Components()
    await components.load([waiting("good", "state.in-memory"), vault(tmp_path)], strict=True)
    assert sorted(components.live.manifests) == ["good", "vault"]
    await components.end()


async def test_a_secret_store_may_wait_for_another(tmp_path: Path) -> None:
    components = Components()
    needy = waiting("needy", "secretstores.local.env")
    await components.load([needy, vault(tmp_path)], strict=True)
    assert sorted(components.live.manifests) == ["needy", "vault"]
    await components.end()


async def test_what_waited_and_fails_ends_a_strict_start(tmp_path: Path) -> None:
    components = Components()
    bad = waiting("bad", "state.nope")
    with pytest.raises(InitError, match=r"for bad \(state.nope/v1\)"):
        await components.load([bad, vault(tmp_path)], strict=True)
    await components.end()


async def test_what_waits_and_goes_is_forgotten(tmp_path: Path) -> None:
    components = Components()
    await components.load([waiting("a", "state.in-memory")], strict=True)
    components.reconcile([])
    assert components.book.entries == {}
    components.reconcile([vault(tmp_path)])
    await components.until("vault", "loaded")
    assert list(components.live.manifests) == ["vault"]
    await components.end()


async def test_one_that_takes_long_holds_no_other_up(gated: type[GatedStore]) -> None:
    gated.gates["slow"] = asyncio.Event()
    components = Components()
    components.reconcile([store("slow", "a"), store("fast", "b")])
    await components.until("b", "loaded")
    assert components.state("a") == "pending"
    gated.gates["slow"].set()
    await components.until("a", "loaded")
    await components.end()


async def test_who_is_slow_to_notice_a_change_holds_nobody_up(gated: type[GatedStore]) -> None:
    components = Components()
    await components.load([store("1", "slow"), store("1", "gone")], strict=True)
    noticed = asyncio.Event()

    async def notice(manifest: Component) -> None:
        if manifest.name in ("slow", "gone"):
            await noticed.wait()

    components._changed = notice
    components.reconcile([store("2", "slow"), store("1", "b")])
    await components.until("b", "loaded")
    assert "gone" not in components.context.components.state
    async with asyncio.timeout(20):
        while components.context.components.state["slow"].properties["version"] != "2":
            await asyncio.sleep(0)
    assert gated.closed == [], "it is still in use"
    noticed.set()
    await components.end()


async def test_the_latest_wish_wins(gated: type[GatedStore]) -> None:
    components = Components()
    await components.load([store("1")], strict=True)
    gated.gates["2"] = asyncio.Event()
    components.reconcile([store("2")])
    async with asyncio.timeout(20):
        while "2" not in gated.opening:
            await asyncio.sleep(0)
    components.reconcile([store("3")])
    components.reconcile([store("4")])
    gated.gates["2"].set()
    async with asyncio.timeout(20):
        while "4" not in gated.opening:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert gated.opening == ["1", "2", "4"]
    assert components.context.components.state["a"].properties["version"] == "4"
    await components.end()
    assert sorted(gated.closed) == ["1", "2", "4"]


async def test_one_that_cannot_be_read_is_in_the_way_until_it_works(
    gated: type[GatedStore],
) -> None:
    gated.gates["1"] = asyncio.Event()
    components = Components()
    told: list[dict[str, str]] = []
    components.on_missing = lambda missing: told.append(dict(missing))
    await components.load([], {"a": "no text", "b": "no text"}, strict=False)
    assert told[-1] == {"a": "no text", "b": "no text"}
    components.reconcile([store("1")])
    assert told[-1] == {"a": "it is being loaded"}, "nobody wants b any more"
    gated.gates["1"].set()
    await components.until("a", "loaded")
    async with asyncio.timeout(20):
        while told[-1]:
            await asyncio.sleep(0)
    components.reconcile([store("1")], {"c": "no text"})
    assert told[-1] == {}, "it came later: the sidecar serves"
    await components.end()


async def test_a_failure_is_tried_again_and_what_worked_goes_on(gated: type[GatedStore]) -> None:
    components = Components()
    await components.load([store("1")], strict=True)
    gated.broken.add("2")
    components.reconcile([store("2")])
    await components.until("a", "failed")
    message = components.book.entries["Component", "a"].message
    assert message == "2 cannot be reached; the version before stays in use"
    assert components.context.components.state["a"].properties["version"] == "1"
    gated.broken.clear()
    await components.until("a", "loaded")
    assert components.context.components.state["a"].properties["version"] == "2"
    await components.end()


async def test_a_failed_change_that_is_taken_back_loads_nothing(gated: type[GatedStore]) -> None:
    components = Components()
    await components.load([store("1")], strict=True)
    gated.broken.add("2")
    components.reconcile([store("2")])
    await components.until("a", "failed")
    components.reconcile([store("1")])
    assert components.state("a") == "loaded"
    async with asyncio.timeout(20):
        while any(task.get_name() == "component a" for task in asyncio.all_tasks()):
            await asyncio.sleep(0)
    assert gated.opening.count("1") == 1
    await components.end()


async def test_one_that_goes_while_it_comes_up_is_closed(gated: type[GatedStore]) -> None:
    gated.gates["1"] = asyncio.Event()
    components = Components()
    components.reconcile([store("1")])
    async with asyncio.timeout(20):
        while not gated.opening:
            await asyncio.sleep(0)
    components.reconcile([])
    await components.close()
    assert gated.closed == ["1"]
    assert components.changes == []
    assert components.book.entries == {}
    await components.end()


async def test_which_required_ones_never_worked_since_the_start(gated: type[GatedStore]) -> None:
    gated.broken |= {"x", "y", "z"}
    components = Components()
    told: list[dict[str, str]] = []
    components.on_missing = lambda missing: told.append(dict(missing))
    ignored = store("z", "c", ignore_errors=True)
    await components.load([store("x", "a"), store("y", "b"), ignored], strict=False)
    assert told[-1] == {"a": "x cannot be reached", "b": "y cannot be reached"}
    components.reconcile([store("x", "a"), ignored, store("z", "new")])
    await components.until("new", "failed")
    assert told[-1] == {"a": "x cannot be reached"}, "one that came later is in nobody's way"
    gated.broken.discard("x")
    await components.until("a", "loaded")
    async with asyncio.timeout(20):
        while told[-1]:
            await asyncio.sleep(0)
    await components.end()


async def test_a_strict_start_ends_with_the_first_that_does_not_ignore_errors(
    gated: type[GatedStore],
) -> None:
    gated.broken |= {"x", "y"}
    components = Components()
    ignored = store("x", "a", ignore_errors=True)
    with pytest.raises(InitError, match="y cannot be reached"):
        await components.load([ignored, store("y", "b"), store("z", "c")], strict=True)
    assert gated.opening == ["x", "y"]
    await components.end()


async def test_errors_show_no_secret(gated: type[GatedStore]) -> None:
    secret = SecretKeyRef("s", "k")
    gated.broken.add("host=h password=hunter22")
    metadata = (NameValue("version", "host=h password=hunter22", secret_key_ref=secret),)
    components = Components()
    with pytest.raises(InitError) as caught:
        await components.load([Component("a", "state.x", metadata=metadata)], strict=True)
    assert "hunter22" not in str(caught.value)
    assert str(caught.value).endswith("*** cannot be reached")
    await components.end()
