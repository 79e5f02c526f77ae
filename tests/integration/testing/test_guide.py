"""What the guides show runs as it is shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from harness.http_call import call

from dapr_testing import Sidecars

ROOT = Path(__file__).parents[3]


def examples(document: str) -> list[str]:
    return blocks(document, "python")


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tests_of_the_guide_pass(tmp_path: Path) -> None:
    pytest.importorskip("requests")
    shown = [one for one in examples("testing.md") if "def test_" in one]
    for number, one in enumerate(shown):
        (tmp_path / f"test_{number}.py").write_text(one, encoding="utf-8")
    said = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", ".")
    assert f"{len(shown)} passed" in said
    assert len(shown) == 2


def test_the_program_of_the_guide_runs(tmp_path: Path) -> None:
    (program,) = (one for one in examples("testing.md") if "with Sidecars()" in one)
    assert run(tmp_path, "-c", program) == "b'you asked for /tea'\n"


def test_the_python_file_of_the_guide_is_a_store(tmp_path: Path) -> None:
    guide = "pluggable-components.md"
    (tmp_path / "my_store.py").write_text(examples(guide)[0], encoding="utf-8")
    shown = yaml.safe_load(blocks(guide, "yaml")[0])
    flags = ["--enable-python-components", f"--python-components-path={tmp_path}"]
    with Sidecars() as sidecars:
        one = sidecars.start("demo", components=[shown], flags=flags)
        state = [{"key": "k", "value": 1}]
        assert call(one.http_port, "POST", "/v1.0/state/mine", state).status == 204
        assert call(one.http_port, "GET", "/v1.0/state/mine/k").json == 1


def test_the_first_service_is_the_one_of_the_examples() -> None:
    (shown,) = examples("quickstart.md")
    assert (ROOT / "examples" / "00-hello" / "hello.py").read_text(encoding="utf-8") == shown
