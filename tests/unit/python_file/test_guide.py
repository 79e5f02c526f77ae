"""The guide's example is what it says."""

from __future__ import annotations

from pathlib import Path

from dapr_common.kube.resources import Component as Manifest
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.finding import ComponentFinder
from dapr_sidecar.components.metadata import decode_settings
from dapr_sidecar.components.state.base import (
    DeleteRequest,
    GetRequest,
    Json,
    SetRequest,
    StateStore,
)

GUIDE = Path(__file__).parents[3] / "docs" / "pluggable-components.md"


async def test_the_first_file_of_the_guide(tmp_path: Path) -> None:
    text = GUIDE.read_text().split("```python\n", 2)[1].split("```", 1)[0]
    (tmp_path / "my_store.py").write_text(text)
    source = ComponentFinder(python_folders=[tmp_path]).source(Manifest("mine", "state.python"))
    kind = await source.kind({"file": "my_store.py", "class": "MyStore"})
    store = kind(decode_settings(kind.settings, {}), ComponentContext("mine", "app"))
    assert isinstance(store, StateStore)
    await store.open()
    await store.set(SetRequest("k", Json({"a": 1})))
    assert (await store.get(GetRequest("k"))).data == b'{"a":1}'
    await store.delete(DeleteRequest("k"))
    assert (await store.get(GetRequest("k"))).data is None
    await store.close()
