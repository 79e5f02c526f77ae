"""What the guides show runs as it is shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def examples(document: str) -> list[str]:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


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


def test_the_first_service_is_the_one_of_the_examples() -> None:
    (shown,) = examples("quickstart.md")
    assert (ROOT / "examples" / "00-hello" / "hello.py").read_text(encoding="utf-8") == shown
