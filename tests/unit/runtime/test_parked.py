"""Components that wait for their secret store."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from harness.block_api import make_context

from dapr_common.kube.resources import Component, NameValue, SecretKeyRef
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
        async with asyncio.timeout(2):
            while ("Component", name) not in self.book.entries or self.state(name) != state:
                self.book.changed.clear()
                await self.book.changed.wait()

    async def end(self) -> None:
        await self.close()
        await self.live.close()


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

    await components.reconcile([bad, good, vault(tmp_path)])
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
    await components.reconcile([])
    assert components.book.entries == {}
    await components.reconcile([vault(tmp_path)])
    await components.until("vault", "loaded")
    assert list(components.live.manifests) == ["vault"]
    await components.end()
