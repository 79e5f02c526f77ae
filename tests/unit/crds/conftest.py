from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def tool() -> ModuleType:
    """``tools/crds.py``, which is no module of a package."""
    spec = spec_from_file_location("crds_tool", ROOT / "tools" / "crds.py")
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found
