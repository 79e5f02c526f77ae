"""Benchmarks are run by hand, now and then: what they take from elsewhere must still be there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_benchmark_can_be_imported() -> None:
    names = [
        path.stem for path in (ROOT / "benchmarks").glob("*.py") if not path.stem.startswith("__")
    ]
    assert "operator" in names
    program = "import importlib, sys\nfor n in sys.argv[1:]: importlib.import_module(n)"
    command = [sys.executable, "-c", program, *(f"benchmarks.{name}" for name in sorted(names))]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
