"""Files of this machine: which are read, and what of a broken one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from dapr_dashboard.model import SourceError
from dapr_dashboard.sources.manifests import from_files
from dapr_dashboard.sources.processes import values
from dapr_dashboard.sources.tail import MOST_BYTES, tail


def log_file(folder: Path, text: str) -> Path:
    path = folder / ".dapr" / "logs" / "app.log"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_the_end_of_a_log(tmp_path: Path) -> None:
    assert tail(str(log_file(tmp_path, "a\nb\n"))) == "a\nb\n"


def test_of_a_long_log_only_whole_lines(tmp_path: Path) -> None:
    path = log_file(tmp_path, "".join(f"line {number:08}\n" for number in range(60_000)))
    found = tail(str(path))
    assert len(found) <= MOST_BYTES
    assert found.startswith("line ")
    assert found.endswith("line 00059999\n")


def test_only_logs_are_read_whatever_the_metadata_says(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("topsecret")
    path = log_file(tmp_path, "")
    path.unlink()
    path.symlink_to(secret)
    for each in (str(secret), "/etc/passwd", str(path)):
        with pytest.raises(SourceError, match="is no log of dapr run"):
            tail(each)
    with pytest.raises(SourceError, match="cannot be read"):
        tail(str(tmp_path / "none"))


def test_a_broken_manifest_is_told_without_its_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: Component\n  password: 'topsecret\n")
    (tmp_path / "b.yaml").write_text(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: ok}\n"
        "spec: {type: state.in-memory, version: v1}\n"
    )
    found = from_files([str(tmp_path), str(tmp_path / "none")], []).components
    assert [one.name for one in found] == ["a.yaml", "ok"]
    assert found[0].problem.startswith("not valid YAML")
    assert "topsecret" not in str(found)


def test_flags_given_more_than_once() -> None:
    words = ["daprd", "--resources-path", "a,b", "-resources-path=c", "--config", "d"]
    assert values(words, "resources-path") == ["a", "b", "c"]
    assert values(words, "config") == ["d"]
    assert values(["--config"], "config") == []
