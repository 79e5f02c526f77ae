"""Play the conformance kit's scenarios against this checkout's daprd.

``python tools/conformance.py KIT [its options]``: KIT is the folder with ``run.py``. The kit gets
an environment of its own: the SDK's messages and ours cannot live in one process.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-conformance"
ACCEPTED = ROOT / "tests" / "conformance" / "accepted.yaml"
PROGRAMS = {"daprd": "daprd", "sentry": "dapr-sentry", "placement": "dapr-placement"}
SCHEDULER = ROOT / "tests" / "harness" / "stand_in_scheduler.py"
# Areas of the kit that no program here serves yet.
NOT_SERVED = frozenset({"conversation"})
_AREA = re.compile(r"^area: *(\S+)", re.MULTILINE)


def main() -> int:
    """Run the kit; the exit code is its own."""
    kit = Path(sys.argv[1]).resolve()
    python = _environment(kit / "requirements.txt")
    command = [str(python), str(kit / "run.py"), "--check"]
    programs = Path(sys.executable).parent
    for option, name in PROGRAMS.items():
        command += [f"--{option}", str(programs / name)]
    # The service that keeps jobs and reminders is not part of this product; sidecars speak to one.
    command += ["--scheduler", f"{sys.executable} {SCHEDULER}"]
    command += ["-j", "3"]
    command += ["--only", ",".join(_scenarios(kit)), *sys.argv[2:]]
    if ACCEPTED.exists():
        command += ["--accept", str(ACCEPTED)]
    return subprocess.run(command, check=False).returncode


def _scenarios(kit: Path) -> list[str]:
    chosen, left_out = [], []
    for path in sorted((kit / "scenarios").glob("*.yaml")):
        area = _AREA.search(path.read_text(encoding="utf-8"))
        (left_out if area and area[1] in NOT_SERVED else chosen).append(path.stem)
    print(f"{len(chosen)} scenarios; not served yet: {', '.join(left_out)}", flush=True)
    return chosen


def _environment(requirements: Path) -> Path:
    python = VENV / "bin" / "python"
    stamp = VENV / f".{hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]}"
    if not stamp.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", str(requirements)], check=True)
        stamp.touch()
    return python


if __name__ == "__main__":
    sys.exit(main())
