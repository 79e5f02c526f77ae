"""Files that only their owner may read, whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dapr_common.security.private_files import write_private


def test_files_and_directories_are_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    write_private({path: b"secret"})
    assert path.read_bytes() == b"secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    write_private({path: b"other"})
    assert path.read_bytes() == b"other"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_nothing_is_replaced_when_one_file_cannot_be_written(tmp_path: Path) -> None:
    good, bad = tmp_path / "a", tmp_path / "file" / "b"
    good.write_bytes(b"before")
    bad.parent.write_bytes(b"no directory")
    with pytest.raises(OSError, match="file"):
        write_private({good: b"after", bad: b"x"})
    assert good.read_bytes() == b"before"
    assert sorted(tmp_path.iterdir()) == [good, bad.parent]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_the_owner_stays(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"before")
    os.chown(path, 4321, 4322)
    write_private({path: b"after"})
    assert (path.stat().st_uid, path.stat().st_gid) == (4321, 4322)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
