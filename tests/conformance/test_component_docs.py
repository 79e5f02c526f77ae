"""The pages under ``docs/components`` say what the settings classes say."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from dapr_sidecar.components.metadata import describe_settings
from dapr_sidecar.components.registry import TYPES, component_class
from dapr_sidecar.runtime.common_metadata import COMMON_NAMES

TOOL = Path(__file__).parents[2] / "tools" / "component_docs.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = spec_from_file_location("component_docs", TOOL)
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_nothing_is_stale(tool: ModuleType) -> None:
    assert tool.stale() == [], "run `make docs`"


def test_what_is_stale_is_found(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "FOLDER", tmp_path)
    monkeypatch.setattr("sys.argv", ["component_docs.py"])
    assert "state.md" in tool.stale()
    assert tool.main() == 0
    assert tool.stale() == []
    (tmp_path / "state.md").write_text("old")
    (tmp_path / "gone.md").write_text("nobody writes this")
    assert tool.stale() == ["gone.md", "state.md"]
    assert tool.main() == 0
    assert tool.stale() == []


@pytest.mark.parametrize("key", TYPES)
def test_every_setting_says_what_it_is_for(key: str) -> None:
    settings = describe_settings(component_class(*key.rsplit("/", 1)).settings)
    assert [setting.names[0] for setting in settings if not setting.help] == []


def test_common_names_are_the_runtimes(tool: ModuleType) -> None:
    known = {kind: set(names) for kind, names in COMMON_NAMES.items()}
    shown = {kind: {name.lower() for name in names} for kind, names in tool.COMMON.items()}
    assert shown == known
