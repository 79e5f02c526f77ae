"""The guide's example is a component, and what the guide names is there."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import SettingsError, decode_settings, describe_settings

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "adding-a-component.md").read_text(encoding="utf-8")
EXAMPLE, LINE = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
ENTRY, _ = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
PATH = re.compile(r"`((?:sidecar|tests|tools|common|docs|components|bindings|pubsub)/[\w./-]+)`")


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = ModuleType("folder")
    monkeypatch.setitem(sys.modules, "folder", module)  # dataclasses look their module up
    exec(compile(EXAMPLE, "adding-a-component.md", "exec"), vars(module))
    name = LINE.strip().rstrip(",").rpartition(":")[2].strip('"')
    return getattr(module, name)


async def test_the_example_works(kind: Any, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("geheim")
    settings = decode_settings(kind.settings, {"Path": str(tmp_path)})
    store = kind(settings, ComponentContext("c", "app"))
    await store.open()
    assert await store.get("password", {}) == {"password": "geheim"}
    assert await store.bulk_get({}) == {"password": {"password": "geheim"}}
    with pytest.raises(LookupError, match="there is no secret 'nope'"):
        await store.get("nope", {})
    await store.close()
    await store.close()


async def test_the_example_says_what_is_wrong(kind: Any, tmp_path: Path) -> None:
    assert all(setting.help for setting in describe_settings(kind.settings))
    with pytest.raises(SettingsError, match="missing required metadata field 'path'"):
        decode_settings(kind.settings, {})
    settings = decode_settings(kind.settings, {"path": str(tmp_path / "nowhere")})
    with pytest.raises(SettingsError, match=r"invalid metadata field 'path': .* is no folder"):
        await kind(settings, ComponentContext("c", "app")).open()


async def test_its_entry_of_the_table_is_true(kind: Any, tmp_path: Path) -> None:
    (entry,) = tomllib.loads(ENTRY)["secretstores"]
    assert LINE.startswith(f'"{entry["type"]}/v1"')
    for name, text in entry["files"].items():
        (tmp_path / name).write_text(text)
    metadata = {k: v.replace("${dir}", str(tmp_path)) for k, v in entry["metadata"].items()}
    store = kind(decode_settings(kind.settings, metadata), ComponentContext("c", "app"))
    await store.open()
    assert entry["known"]
    for name, value in entry["known"].items():
        assert await store.get(name, {}) == {name: value}


@pytest.mark.parametrize("named", sorted(set(PATH.findall(GUIDE))))
def test_what_it_names_is_there(named: str) -> None:
    inside = ROOT / "sidecar" / "dapr_sidecar"
    places = (ROOT / named, inside / named, inside / "components" / named)
    assert any(place.exists() for place in places)
