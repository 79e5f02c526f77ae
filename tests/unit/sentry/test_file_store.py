"""The certificate authority as files: read, written, watched."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import uvloop

from dapr_sentry.bundle_store import FileNames, StoredBundle, StoreError
from dapr_sentry.file_store import FileBundleStore

BUNDLE = StoredBundle(b"ca", b"crt", b"key")
QUICK = 0.01


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "credentials"


@pytest.fixture
def store(directory: Path) -> FileBundleStore:
    return FileBundleStore(directory, FileNames(), batch_seconds=QUICK)


@pytest.mark.parametrize("missing", ["ca.crt", "issuer.crt", "issuer.key"])
async def test_a_missing_part_is_no_bundle(
    store: FileBundleStore, directory: Path, missing: str
) -> None:
    assert await store.load() is None
    await store.save(BUNDLE)
    assert await store.load() == BUNDLE
    (directory / missing).unlink()
    assert await store.load() is None


async def test_jwt_files_are_kept_when_nothing_new_is_saved(store: FileBundleStore) -> None:
    whole = StoredBundle(b"ca", b"crt", b"key", b"jwt", b"jwks")
    await store.save(whole)
    await store.save(StoredBundle(b"ca2", b"crt", b"key"))
    assert await store.load() == StoredBundle(b"ca2", b"crt", b"key", b"jwt", b"jwks")


async def test_absolute_names_and_renamed_files(tmp_path: Path) -> None:
    names = FileNames(ca_crt="root.pem", issuer_key=str(tmp_path / "elsewhere" / "k.pem"))
    store = FileBundleStore(tmp_path / "here", names)
    await store.save(BUNDLE)
    assert (tmp_path / "elsewhere" / "k.pem").read_bytes() == b"key"
    assert (tmp_path / "here" / "root.pem").read_bytes() == b"ca"
    assert await store.load() == BUNDLE


async def test_what_cannot_be_read_or_written(
    store: FileBundleStore, directory: Path, tmp_path: Path
) -> None:
    await store.save(BUNDLE)
    (directory / "ca.crt").write_bytes(b"x" * (1 << 20) + b"x")
    with pytest.raises(StoreError, match=r"ca\.crt is no file, or larger than 1 MiB"):
        await store.load()
    (directory / "ca.crt").unlink()
    os.mkfifo(directory / "ca.crt")  # reading it would wait for ever
    with pytest.raises(StoreError, match=r"ca\.crt is no file"):
        await store.load()
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StoreError, match=r"cannot be written.*--issuer-credentials"):
        await FileBundleStore(file, FileNames()).save(BUNDLE)


async def _next(changes: AsyncIterator[None]) -> None:
    await asyncio.wait_for(anext(changes), 20)


async def test_changes(store: FileBundleStore, directory: Path) -> None:
    await store.save(BUNDLE)
    async with aclosing(store.changes()) as changes:
        await _next(changes)  # what changed before the watch began
        for change in (
            lambda: (directory / "ca.crt").write_bytes(b"other"),
            lambda: (directory / "ca.crt").unlink(),
            lambda: (directory / "new").write_bytes(b"x"),
            lambda: (directory / "new").rename(directory / "issuer.key"),
        ):
            waiting = asyncio.create_task(_next(changes))
            await asyncio.sleep(0)
            change()
            await waiting


async def test_a_set_of_files_is_one_change(directory: Path) -> None:
    store = FileBundleStore(directory, FileNames(), batch_seconds=0.2)
    await store.save(BUNDLE)
    async with aclosing(store.changes()) as changes:
        await _next(changes)
        for name in ("ca.crt", "issuer.crt", "issuer.key"):
            (directory / name).write_bytes(b"new")
        await _next(changes)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(changes), 0.3)


async def test_files_beside_count(directory: Path, tmp_path: Path) -> None:
    config = tmp_path / "config" / "cfg.yaml"
    config.parent.mkdir()
    store = FileBundleStore(directory, FileNames(), beside=[config], batch_seconds=QUICK)
    await store.save(BUNDLE)
    async with aclosing(store.changes()) as changes:
        await _next(changes)
        waiting = asyncio.create_task(_next(changes))
        await asyncio.sleep(0)
        config.write_text("kind: Configuration")
        await waiting
