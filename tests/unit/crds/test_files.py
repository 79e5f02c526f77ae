"""The files of ``crds/`` and of the chart are those that our description of the kinds makes."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import yaml


def test_nothing_is_stale(tool: ModuleType) -> None:
    assert tool.stale() == [], "run `make crds`"


def test_what_is_stale_is_found_and_written_again(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["crds.py"])
    assert "crds/components.yaml" in tool.stale()
    assert tool.main() == 0
    assert tool.stale() == []
    (tmp_path / "crds" / "components.yaml").write_text("old")
    (tmp_path / "charts" / "dapr" / "crds" / "gone.yaml").write_text("nobody writes this")
    assert tool.stale() == ["charts/dapr/crds/gone.yaml", "crds/components.yaml"]
    monkeypatch.setattr("sys.argv", ["crds.py", "--check"])
    assert tool.main() == 1
    monkeypatch.setattr("sys.argv", ["crds.py"])
    assert tool.main() == 0
    assert tool.stale() == []


def test_the_chart_has_the_same_files(tool: ModuleType) -> None:
    ours, charts = (tool.ROOT / folder for folder in tool.FOLDERS)
    names = sorted(path.name for path in ours.iterdir())
    assert names == sorted(path.name for path in charts.iterdir())
    assert [
        name for name in names if (ours / name).read_bytes() != (charts / name).read_bytes()
    ] == []


def test_a_file_is_one_definition_as_it_was_meant(tool: ModuleType) -> None:
    for resource in tool.CUSTOM_RESOURCES:
        text = (tool.ROOT / "crds" / f"{resource.plural}.yaml").read_text()
        assert yaml.safe_load(text) == tool.definition(resource)
        assert "&id" not in text, "aliases are for programs"
