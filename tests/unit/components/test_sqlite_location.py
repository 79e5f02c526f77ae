"""Where a SQLite database is: paths, ``file:`` URIs, parameters."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from dapr_sidecar.components.sqlite.connection import Database, DatabaseError


def make_table(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE t (x)")


async def write(location: str) -> None:
    database = Database(location)
    await database.open()
    try:
        await database.run(make_table)
    finally:
        await database.close()


@pytest.mark.parametrize(
    ("location", "file"),
    [
        ("plain.db", "plain.db"),
        ("a b/ü %41#.db", "a b/ü %41#.db"),
        ("path.db?_txlock=immediate&_pragma=foreign_keys(1)", "path.db"),
        ("path.db?", "path.db"),
        ("file:uri%20x.db?mode=rwc", "uri x.db"),
    ],
)
async def test_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str, file: str
) -> None:
    monkeypatch.chdir(tmp_path)
    await write(location)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / file]
    with sqlite3.connect(tmp_path / file) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    connection.close()
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(DatabaseError, match="table t already exists"):
        await write(location if location.startswith("file:") else f"~/{location}")


@pytest.mark.parametrize("location", [":memory:", ":memory:?cache=private", "file::memory:"])
async def test_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str) -> None:
    monkeypatch.chdir(tmp_path)
    await write(location)
    assert list(tmp_path.iterdir()) == []


async def test_slashes_too_many(tmp_path: Path) -> None:
    await write(f"/{tmp_path}//slashes.db")
    assert (tmp_path / "slashes.db").is_file()


async def test_parameters_of_a_path_count(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="unable to open"):
        await write(f"{tmp_path}/absent.db?mode=ro")
    assert list(tmp_path.iterdir()) == []
