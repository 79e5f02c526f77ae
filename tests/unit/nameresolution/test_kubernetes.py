from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import decode_settings
from dapr_sidecar.components.nameresolution.kubernetes import KubernetesResolver
from dapr_sidecar.components.nameresolution.kubernetes.cache import LIFETIME, MOST, AddressLists
from dapr_sidecar.components.nameresolution.kubernetes.resolver import KubernetesResolverSettings
from dapr_sidecar.components.nameresolution.kubernetes.template import (
    AddressTemplate,
    Target,
    TemplateError,
)

SHOP = Target("shop", "prod", 50002)
Address = tuple[str, int]


def resolver(**given: str) -> KubernetesResolver:
    settings = decode_settings(KubernetesResolverSettings, given)
    return KubernetesResolver(settings, ComponentContext("kubernetes", "me"))


# --- templates ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("{{.ID}}-dapr.{{.Namespace}}.svc:{{.Port}}", "shop-dapr.prod.svc:50002"),
        ("{{ .ID }}.example:1", "shop.example:1"),
        ("a {{- .ID -}} \n b", "ashopb"),
        ("{{-  .ID}} c", "shop c"),
        ("fixed:1", "fixed:1"),
        ("{{.ID}}{{.ID}}", "shopshop"),
        ("{{.Data.zone}}:1", "<no value>:1"),
        ("}} {.ID}", "}} {.ID}"),
    ],
)
def test_templates(text: str, address: str) -> None:
    template = AddressTemplate(text)
    assert template.render(SHOP) == address
    assert template.uses_data == ("Data" in text)


@pytest.mark.parametrize(
    "text",
    ["{{.Id}}", "{{}}", "{{.ID | upper}}", "{{if .ID}}x{{end}}", "{{.Data}}", "{{.Data.a.b}}"],
)
def test_templates_that_are_not_understood(text: str) -> None:
    with pytest.raises(TemplateError, match=r"invalid 'template': '.*' is not supported: use"):
        AddressTemplate(text)


@pytest.mark.parametrize("text", ["{{.ID", "a {{.ID}} {{"])
def test_templates_that_do_not_end(text: str) -> None:
    with pytest.raises(TemplateError, match="unclosed action"):
        resolver(template=text)


async def test_data_is_told_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    await resolver().open()
    assert caplog.messages == []
    await resolver(template="{{.Data.zone}}").open()
    assert caplog.messages == ["nameresolution.kubernetes: the template's Data has no entries here"]


# --- lists --------------------------------------------------------------------------------------


def test_lists_grow_old_and_are_dropped() -> None:
    lists = AddressLists()
    key = ("prod", "shop")
    assert lists.pick(key, 0) is None
    lists.put(key, ["a", "b"], 100)
    assert {lists.pick(key, 100 + LIFETIME - 0.1) for _ in range(50)} == {"a", "b"}
    assert lists.pick(key, 100 + LIFETIME) is None
    lists.put(key, ["c"], 200)
    assert lists.pick(key, 201) == "c"
    lists.drop(key)
    lists.drop(key)
    assert lists.pick(key, 201) is None


def test_lists_are_bounded() -> None:
    lists = AddressLists()
    for number in range(MOST):
        lists.put(("", str(number)), ["a"], number)
    lists.put(("", "0"), ["a"], MOST)  # read again: now the youngest
    lists.put(("", "new"), ["a"], MOST)
    assert len(lists) == MOST
    assert lists.pick(("", "1"), 2) is None
    assert lists.pick(("", "0"), MOST) == "a"


# --- the resolver -------------------------------------------------------------------------------


class StandInLookup:
    """In place of the loop's ``getaddrinfo``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, int]] = []
        self.hosts: list[str] = ["10.0.0.1", "fd00::1", "10.0.0.1"]
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", self._look_up, raising=False)

    async def _look_up(self, host: str, port: int, **options: Any) -> list[Any]:
        self.asked.append((host, port))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [(0, 0, 0, "", (address, port)) for address in self.hosts]


async def ask(made: KubernetesResolver, count: int = 40) -> set[str]:
    return {await made.resolve("shop", "prod", 50002) for _ in range(count)}


async def test_all_addresses_are_used_with_a_stand_in_lookup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lookup = StandInLookup(monkeypatch)
    made = resolver(clusterDomain="k8s.example.")
    assert await ask(made) == {"10.0.0.1:50002", "[fd00::1]:50002"}
    assert lookup.asked == [("shop-dapr.prod.svc.k8s.example", 50002)]
    lookup.hosts = ["10.0.0.2"]
    made.forget("shop", "other", "10.0.0.1:50002")
    assert len(lookup.asked) == 1
    made.forget("shop", "prod", "10.0.0.1:50002")
    assert await ask(made) == {"10.0.0.2:50002"}
    assert len(lookup.asked) == 2
    await made.resolve("shop", "dev", 50002)
    assert lookup.asked[-1] == ("shop-dapr.dev.svc.k8s.example", 50002)


async def test_callers_share_a_stand_in_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    lookup = StandInLookup(monkeypatch)
    lookup.gate.clear()
    made = resolver()
    callers = [asyncio.create_task(made.resolve("shop", "prod", 1)) for _ in range(20)]
    await asyncio.sleep(0)
    callers[0].cancel()
    await asyncio.sleep(0)
    lookup.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert set(results[1:]) <= {"10.0.0.1:1", "[fd00::1]:1"}
    assert len(lookup.asked) == 1


async def test_failures_of_a_stand_in_lookup_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    lookup = StandInLookup(monkeypatch)
    lookup.error = socket.gaierror(-2, "Name or service not known")
    made = resolver()
    text = "^lookup shop-dapr.prod.svc.cluster.local: Name or service not known$"
    for _ in range(2):
        with pytest.raises(LookupError, match=text):
            await made.resolve("shop", "prod", 1)
    lookup.error = None
    assert await made.resolve("shop", "prod", 1)
    assert len(lookup.asked) == 3


async def test_closing_ends_a_stand_in_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    lookup = StandInLookup(monkeypatch)
    lookup.gate.clear()
    made = resolver()
    caller = asyncio.create_task(made.resolve("shop", "prod", 1))
    await asyncio.sleep(0)
    await made.close()
    with pytest.raises(LookupError, match="lookup of shop: the name resolver was closed"):
        await caller  # who asked is told, and not taken for cancelled


@pytest.mark.parametrize(
    ("template", "address"),
    [
        ("127.0.0.1:{{.Port}}", "127.0.0.1:50002"),
        ("[::1]:9", "[::1]:9"),
        ("unix:///run/{{.ID}}.sock", "unix:///run/shop.sock"),
        ("dns:///{{.ID}}", "dns:///shop"),
    ],
)
async def test_a_template_replaces_the_whole_address(template: str, address: str) -> None:
    assert await resolver(template=template).resolve("shop", "prod", 50002) == address
