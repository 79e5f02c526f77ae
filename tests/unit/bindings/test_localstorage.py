from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from harness.block_api import make

from dapr_sidecar.components.bindings.base import InvokeRequest, InvokeResponse
from dapr_sidecar.components.bindings.localstorage import LocalStorageBinding
from dapr_sidecar.components.metadata import SettingsError

Run = Callable[..., Awaitable[InvokeResponse | None]]


@pytest.fixture
async def run(tmp_path: Path) -> Run:
    binding: LocalStorageBinding = make(LocalStorageBinding, rootPath=str(tmp_path / "a" / "root"))
    await binding.open()

    async def call(operation: str, name: str = "", data: bytes = b"") -> InvokeResponse | None:
        metadata = {"fileName": name} if name else {}
        return await binding.invoke(InvokeRequest(operation, data, metadata))

    return call


async def test_a_list_of_nothing_is_null(run: Run) -> None:
    listed = await run("list")
    assert listed is not None
    assert listed.data == b"null"


async def test_create_get_list_delete(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "a" / "root"
    made = await run("create", "d/f.txt", b'"he said \\"hi\\""')
    assert made is not None
    assert json.loads(made.data) == {"fileName": "d/f.txt"}
    assert (root / "d/f.txt").read_text() == 'he said "hi"'
    await run("create", "/d/g", b'{"a":1}')
    got = await run("get", "d/g")
    assert got is not None
    assert got.data == b'{"a":1}'
    listed = await run("list", "d")
    assert listed is not None
    assert json.loads(listed.data) == [str(root / "d/f.txt"), str(root / "d/g")]
    everything = await run("list")
    assert everything is not None
    assert json.loads(everything.data) == json.loads(listed.data)
    assert await run("delete", "d/f.txt") is None
    with pytest.raises(FileNotFoundError, match=r"file not found: d/f\.txt"):
        await run("get", "d/f.txt")
    with pytest.raises(FileNotFoundError):
        await run("list", "none")


async def test_a_name_is_made_up(run: Run, tmp_path: Path) -> None:
    made = await run("create", data=b"x")
    assert made is not None
    name = json.loads(made.data)["fileName"]
    assert uuid.UUID(name).version == 4
    assert (tmp_path / "a" / "root" / name).read_bytes() == b"x"


async def test_overwrites_leave_nothing_behind(run: Run, tmp_path: Path) -> None:
    await run("create", "f", b"1")
    await run("create", "f", b"2")
    assert [path.name for path in (tmp_path / "a/root").iterdir()] == ["f"]
    assert (tmp_path / "a/root/f").read_bytes() == b"2"


@pytest.mark.parametrize("operation", ["create", "get", "delete", "list"])
async def test_nothing_outside_the_root(run: Run, tmp_path: Path, operation: str) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "a/root/link").symlink_to(tmp_path)
    for name in ("../../secret", "/../../secret", "link/secret", "d/../../../secret"):
        with pytest.raises(PermissionError, match="outside the root"):
            await run(operation, name, b"x")
    assert (tmp_path / "secret").read_text() == "s"


async def test_the_root_itself_stays(run: Run, tmp_path: Path) -> None:
    for operation in ("delete", "create", "get"):
        with pytest.raises(OSError):
            await run(operation, ".")
    assert (tmp_path / "a/root").is_dir()


async def test_a_name_is_needed(run: Run) -> None:
    for operation in ("get", "delete"):
        with pytest.raises(ValueError, match="fileName"):
            await run(operation)


@pytest.mark.parametrize("path", ["/proc/x", "/sys", "/boot/../boot", "/var/run/secrets/x"])
async def test_forbidden_roots(path: str) -> None:
    with pytest.raises(SettingsError, match="may not be used"):
        await make(LocalStorageBinding, rootPath=path).open()


@pytest.mark.parametrize(
    "name", ["proc/self/environ", "proc", "/var/run/secrets/token", "run/secrets/token"]
)
async def test_a_large_root_does_not_open_closed_folders(tmp_path: Path, name: str) -> None:
    """``/proc/self/environ`` has the sidecar's tokens."""
    binding: LocalStorageBinding = make(LocalStorageBinding, rootPath="/")
    await binding.open()
    for operation in ("get", "create", "list", "delete"):
        with pytest.raises(PermissionError, match="outside the root"):
            await binding.invoke(InvokeRequest(operation, b"x", {"fileName": name}))
    (tmp_path / "open").write_text("read me")
    read = await binding.invoke(InvokeRequest("get", b"", {"fileName": str(tmp_path / "open")}))
    assert read is not None
    assert read.data == b"read me"


async def test_lists_leave_closed_folders_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed" / "deep").mkdir(parents=True)
    (tmp_path / "closed" / "deep" / "token").write_text("t")
    (tmp_path / "note").write_text("n")
    monkeypatch.setattr(
        "dapr_sidecar.components.bindings.folders._FORBIDDEN", (tmp_path / "closed",)
    )
    binding: LocalStorageBinding = make(LocalStorageBinding, rootPath=str(tmp_path))
    await binding.open()
    listed = await binding.invoke(InvokeRequest("list", b"", {}))
    assert listed is not None
    assert json.loads(listed.data) == [str(tmp_path / "note")]
