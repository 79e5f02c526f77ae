"""The units of ``packaging/systemd``: systemd takes them, and so do the programs they start."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from harness.programs import console_script
from hosting.systemd_units import PACKAGING, UNITS, read_environment, read_unit

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "virtual-machines.md"
MOST_EXPOSED = 20  # of 100, by systemd's own count; below 20 it says OK
SPECIFIERS = {"i": "orders", "H": "vm-1", "S": "/var/lib"}
FILES = sorted(
    path.relative_to(PACKAGING)
    for path in PACKAGING.rglob("*")
    if path.is_file() and path.name not in UNITS
)

with_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@with_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_has_no_objection(name: str, tmp_path: Path) -> None:
    # The programs are not where they will be, which is the one thing it would object to.
    text = (PACKAGING / name).read_text()
    (tmp_path / name).write_text(re.sub(r"/opt/dapr/bin/\S+", "/bin/true", text))
    said = _systemd_analyze("verify", "--recursive-errors=no", str(tmp_path / name))
    stem = name.partition(".")[0]  # other units of this machine are none of ours
    assert [line for line in said.splitlines() if stem in line] == []


@with_systemd
@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_hardened(name: str) -> None:
    _systemd_analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", PACKAGING / name)


@pytest.mark.parametrize("name", UNITS)
def test_nothing_is_written_but_the_state_directory(name: str) -> None:
    unit = read_unit(PACKAGING / name)
    assert unit.one("DynamicUser") == unit.one("NoNewPrivileges") == "yes"
    assert unit.one("ProtectSystem") == "strict"
    assert unit.one("CapabilityBoundingSet") == ""
    assert "ReadWritePaths" not in unit.sections["Service"]


@pytest.mark.parametrize("name", UNITS)
def test_a_program_is_started_again_however_often_it_fails(name: str) -> None:
    unit = read_unit(PACKAGING / name)
    assert unit.one("Restart") == "always"
    assert unit.all("Unit", "StartLimitIntervalSec") == ["0"]


@pytest.mark.parametrize("name", UNITS)
def test_what_comes_after_a_program_waits_until_it_serves(name: str) -> None:
    assert read_unit(PACKAGING / name).one("Type") == "notify"


@pytest.mark.parametrize("name", UNITS)
def test_the_program_knows_every_flag_of_its_unit(name: str) -> None:
    unit = read_unit(PACKAGING / name)
    files = [PACKAGING / "etc/dapr/vm.env", PACKAGING / "etc/dapr/apps/orders.env"]
    environment = {k: v for path in files for k, v in read_environment(path).items()}
    program, *flags = unit.command(environment, SPECIFIERS)
    help_text = subprocess.run(
        [console_script(Path(program).name), "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    known = set(re.findall(r"--[\w-]+", help_text))
    assert {flag.partition("=")[0] for flag in flags} <= known


@pytest.mark.parametrize("path", FILES, ids=str)
def test_the_guide_shows_every_file_or_names_it(path: Path) -> None:
    guide = GUIDE.read_text()
    text = (PACKAGING / path).read_text()
    assert text in guide or f"packaging/systemd/{path}" in guide
    if path.parts[0] == "etc":
        assert text in guide, f"{path} and its text in the guide differ"


def test_apps_of_one_machine_share_no_port() -> None:
    apps = sorted((PACKAGING / "etc/dapr/apps").iterdir())
    ports = [port for path in apps for port in read_environment(path).values()]
    assert len(apps) > 1
    assert len(set(ports)) == len(ports)


def _systemd_analyze(*arguments: object) -> str:
    done = subprocess.run(
        ["systemd-analyze", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "SYSTEMD_COLORS": "0"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr
