"""What admission knows of components is what the sidecar's settings classes say."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from dapr_common.kube.validation.catalogue import catalogue

TOOL = Path(__file__).parents[3] / "tools" / "component_catalogue.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = spec_from_file_location("component_catalogue", TOOL)
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_it_is_fresh(tool: ModuleType) -> None:
    assert not tool.is_stale(), "run `make docs`"


def test_a_stale_one_is_noticed(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "FILE", tmp_path / "catalogue.json")
    monkeypatch.setattr(tool, "_ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["component_catalogue.py", "--check"])
    assert tool.main() == 1
    monkeypatch.setattr("sys.argv", ["component_catalogue.py"])
    assert tool.main() == 0
    assert not tool.is_stale()


def test_what_is_read_of_it() -> None:
    fields = {field.names[0]: field for field in catalogue().fields("state.redis", "v1")}
    assert fields["redisHost"].required
    assert fields["redisPassword"].secret
    assert (fields["redisDB"].type, fields["dialTimeout"].type) == ("integer", "duration")
    assert fields["actorStateStore"].type == "boolean", "every state store takes it"
    choices = [field for field in fields.values() if field.type == "choice"]
    assert all(field.allowed for field in choices)
