"""Files whose changes are noticed, by the system's inotify."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from dapr_common.aio.inotify import Inotify
from dapr_common.aio.watch import watching

LOG = logging.getLogger("dapr.test")
Change = Callable[[Path], object]


def swap(folder: Path) -> None:
    """As Kubernetes and editors do it."""
    (folder.parent / "new").write_text("new")
    (folder.parent / "new").rename(folder / "file")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "file").write_text("other"),
        lambda folder: (folder / "another").touch(),
        lambda folder: (folder / "file").unlink(),
        lambda folder: (folder / "file").rename(folder.parent / "away"),
        swap,
    ],
    ids=["written", "made", "deleted", "moved away", "replaced"],
)
async def test_a_change_is_noticed(change: Change, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("old")
    changed = asyncio.Event()
    with watching(changed, LOG) as follow:
        follow([str(folder), str(folder)])
        (folder / "file").read_text()
        assert not await is_set(changed, seconds=0.05), "reading changes nothing"
        change(folder)
        assert await is_set(changed)


async def test_what_is_noticed_once_is_not_noticed_again(tmp_path: Path) -> None:
    changed = asyncio.Event()
    with watching(changed, LOG) as follow:
        follow([str(tmp_path)])
        for number in range(2):
            (tmp_path / str(number)).touch()
            assert await is_set(changed)
            await asyncio.sleep(0)
            changed.clear()
        assert not await is_set(changed, seconds=0.05)


async def test_a_directory_that_is_not_there_yet_is_followed_later(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    changed = asyncio.Event()
    with watching(changed, LOG) as follow:
        follow([str(folder)])
        folder.mkdir()
        follow([str(folder)])
        (folder / "file").touch()
        assert await is_set(changed)


async def test_where_there_is_none_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: object())
    with watching(asyncio.Event(), LOG) as follow:
        follow(["/"])
    assert "inotify is not available: this system has none" in caplog.text


def test_what_the_system_says_is_kept(tmp_path: Path) -> None:
    watcher = Inotify()
    try:
        with pytest.raises(FileNotFoundError):
            watcher.add(str(tmp_path / "none"))
        watcher.drain()
    finally:
        watcher.close()


async def is_set(event: asyncio.Event, seconds: float = 10.0) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
