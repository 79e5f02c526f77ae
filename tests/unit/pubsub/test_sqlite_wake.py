"""The bell of ``pubsub.sqlite``: nothing but its own sockets is touched, wherever they are."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dapr_sidecar.components.pubsub.wake import WakeBell, wake_folder


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A database whose sockets are in a folder for everybody's temporary files."""
    with tempfile.TemporaryDirectory() as shared:  # short: the kernel takes 108 bytes of a path
        monkeypatch.setattr("tempfile.tempdir", shared)
        database = tmp_path / ("long" * 30) / "events.db"
        assert str(wake_folder(database).parent) == shared
        yield database


async def test_a_link_in_its_folders_place_leads_nowhere(elsewhere: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter").write_text("dear")
    wake_folder(elsewhere).symlink_to(home)
    bell = WakeBell(elsewhere, lambda topic: None)
    with pytest.raises(PermissionError, match="is not this user's own folder"):
        bell.open()
    bell.ring("topic")
    bell.close()
    assert [file.name for file in home.iterdir()] == ["letter"]


async def test_files_among_the_sockets_stay(elsewhere: Path) -> None:
    folder = wake_folder(elsewhere)
    folder.mkdir(mode=0o700)
    (folder / "notes").write_text("mine")
    (folder / "link").symlink_to(folder / "notes")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
        left.bind(str(folder / "left"))
    rung: asyncio.Queue[str] = asyncio.Queue()
    bell = WakeBell(elsewhere, rung.put_nowait)
    bell.open()
    try:
        bell.ring("topic")
        async with asyncio.timeout(20):
            assert await rung.get() == "topic"
        assert not (folder / "left").exists()
    finally:
        bell.close()
    assert sorted(file.name for file in folder.iterdir()) == ["link", "notes"]
