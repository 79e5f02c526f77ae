"""Files that cannot be used, and what is said about each."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dapr_common.kube.resources import Component as Manifest
from dapr_sidecar.components.base import Component, ComponentContext
from dapr_sidecar.components.finding import ComponentFinder
from dapr_sidecar.components.metadata import SettingsError, decode_settings
from dapr_sidecar.components.python_file.errors import PythonFileError
from dapr_sidecar.components.registry import UnknownComponentError
from dapr_sidecar.components.state.base import Feature, GetRequest, StateStore

HEAD = """\
from dataclasses import dataclass
from dapr_sidecar.components.bindings.base import OutputBinding
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.pubsub.base import PubSub
from dapr_sidecar.components.secretstores.base import SecretStore
from dapr_sidecar.components.state.base import Feature, GetResponse, StateStore
"""
STORE = """
class S(StateStore):
    async def get(self, request):
        return GetResponse(b"v")
    async def set(self, request):
        raise KeyError("secret text")
    async def delete(self, request): ...
"""


async def load(
    folder: Path, text: str, kind: str = "state", name: str = "S", **more: str
) -> type[Component]:
    (folder / "f.py").write_text(HEAD + text)
    finder = ComponentFinder(python_folders=[folder])
    properties = {"file": "f.py", **({"class": name} if name else {}), **more}
    return await finder.source(Manifest("c", f"{kind}.python")).kind(properties)


async def test_a_class_without_settings_works(tmp_path: Path) -> None:
    found = await load(tmp_path, STORE)
    made = found(decode_settings(found.settings, {}), ComponentContext("c", "app"))
    assert isinstance(made, StateStore)
    await made.open()
    assert (await made.get(GetRequest("k"))).data == b"v"
    assert (found.__name__, made.features) == ("S", frozenset())
    await made.close()


async def test_features_may_be_a_set_and_are_ordered(tmp_path: Path) -> None:
    found = await load(tmp_path, STORE + "    features = {Feature.TTL, Feature.ETAG}\n")
    assert isinstance(found, type)
    assert issubclass(found, StateStore)
    assert found.feature_order == (Feature.ETAG, Feature.TTL)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class S(StateStore:\n", "f.py, line 7: SyntaxError: .*class S"),
        ("\nx = 1 / 0\n" + STORE, "f.py, line 8: ZeroDivisionError"),
        ("import no_such_library\n", "f.py, line 7: ModuleNotFoundError: .*no_such_library"),
        ("raise SystemExit(3)\n", "f.py, line 7: SystemExit: 3"),
        ("class T(StateStore): pass\n", "no class 'S'; its classes that are a state store: T"),
        ("S = 5\n", "'S' is no class but an int"),
        ("class S: pass\n", "line 7, class S: it is no state store: expected a subclass of"),
        ("class S(SecretStore): pass\n", "as it is, its type is secretstores.python"),
        ("class S(StateStore):\n  async def get(self, r): ...\n", "it lacks delete, set"),
        (STORE.replace("async def set", "def set"), "write 'async def set'"),
        (STORE.replace("get(self, request)", "get(self)"), r"expected get\(self, request\)"),
        (STORE + "    settings = {}\n", "'settings' is no dataclass"),
        ("@dataclass\nclass T:\n  a: int\n" + STORE + "    settings = T\n", "the field 'a'"),
        (
            "@dataclass\nclass T:\n  a: 'Nope' = setting('a')\n" + STORE + "    settings = T\n",
            "the types of its settings cannot be read: name 'Nope' is not defined",
        ),
        (
            "@dataclass\nclass T:\n  a: str = setting('file')\n" + STORE + "    settings = T\n",
            "'file' cannot be a setting",
        ),
        (STORE + "    features = ['ETAG']\n", "'features' is no set of Feature"),
        (STORE + "    features = {Feature.TRANSACTIONAL}\n", "the method transact and Feature."),
        (STORE + "    async def query(self, query, metadata): ...\n", "the method query and"),
    ],
)
async def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PythonFileError, match=message) as caught:
        await load(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "f.py"))


async def test_an_output_binding_says_what_it_can(tmp_path: Path) -> None:
    text = "class S(OutputBinding):\n  async def invoke(self, request): ...\n"
    with pytest.raises(PythonFileError, match="it needs 'operations'"):
        await load(tmp_path, text, "bindings")


async def test_the_class_may_be_left_out_when_there_is_one(tmp_path: Path) -> None:
    assert (await load(tmp_path, STORE, name="")).__name__ == "S"
    with pytest.raises(PythonFileError, match="several classes: name one of S, T"):
        await load(tmp_path, STORE + STORE.replace("S(", "T("), name="")
    with pytest.raises(PythonFileError, match="it has no message bus"):
        await load(tmp_path, STORE, "pubsub", name="")


async def test_failures_at_load_name_the_place(tmp_path: Path) -> None:
    text = STORE + "    async def open(self):\n        raise ValueError('mend it')\n"
    found = await load(tmp_path, text)
    made = found(decode_settings(found.settings, {}), ComponentContext("c", "app"))
    with pytest.raises(PythonFileError, match=r"f.py, line 15, class S: ValueError: mend it"):
        await made.open()
    text = STORE + "    def __init__(self, *a):\n        self.x = a[9]\n"
    found = await load(tmp_path, text)
    with pytest.raises(PythonFileError, match=r"f.py, line 15, class S: IndexError"):
        found(decode_settings(found.settings, {}), ComponentContext("c", "app"))


async def test_failures_at_a_call_are_the_callers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = await load(tmp_path, STORE)
    made = found(decode_settings(found.settings, {}), ComponentContext("c", "app"))
    assert isinstance(made, StateStore)
    with pytest.raises(KeyError, match="secret text"):
        await made.set(None)  # type: ignore[arg-type]
    assert "f.py, line 12, S.set: KeyError" in caplog.text
    assert "secret text" not in caplog.text


async def test_a_failed_load_leaves_the_module_before(tmp_path: Path) -> None:
    found = await load(tmp_path, STORE)
    module = sys.modules[found.__module__]
    with pytest.raises(PythonFileError):
        await load(tmp_path, "1 / 0")
    assert sys.modules[found.__module__] is module
    assert await load(tmp_path, STORE) is not found
    assert sys.modules[found.__module__] is not module
    assert not (tmp_path / "__pycache__").exists()


async def test_files_from_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    outside = tmp_path / "f.py"
    outside.write_text(HEAD + STORE)
    (folder / "link.py").symlink_to(outside)
    (folder / "inside.py").symlink_to(folder / "real.py")
    (folder / "real.py").write_text(HEAD + STORE)
    source = ComponentFinder(python_folders=[folder]).source(Manifest("c", "state.python"))
    for file in (str(outside), "../f.py", "link.py"):
        with pytest.raises(SettingsError, match="it is outside the folders that components may"):
            await source.kind({"file": file})
    for file, message in (
        ("none.py", "no such file"),
        ("f.yaml", "a name with .py"),
        ("", "'file'"),
    ):
        with pytest.raises(SettingsError, match=message):
            await source.kind({"file": file})
    assert (await source.kind({"file": "inside.py"})).__name__ == "S"
    assert (await source.kind({"file": str(folder / "real.py")})).__name__ == "S"


@pytest.mark.parametrize("kind", ["state", "pubsub", "bindings", "secretstores"])
def test_off_by_default(kind: str) -> None:
    with pytest.raises(UnknownComponentError, match=r"switched off.*--enable-python-components"):
        ComponentFinder().source(Manifest("c", f"{kind}.python"))


@pytest.mark.parametrize("kind", ["lock", "configuration", "middleware.http", "crypto"])
def test_other_kinds_have_no_files(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownComponentError, match="couldn't find"):
        ComponentFinder(python_folders=[tmp_path]).source(Manifest("c", f"{kind}.python"))
