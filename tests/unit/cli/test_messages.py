"""Texts that only some situation brings: each is read here, with what it tells to do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from harness.stand_in_server import Answered, serving

from dapr_cli.check.findings import Finding

SIGN = "ℹ️  "  # noqa: RUF001 - the sign
FOUND = [
    Finding("warning", "clock", "here", "is late", "Set it."),
    Finding("error", "resources", "typo.yaml (Component x)", "two\nlines", "Correct it."),
]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What ``dapr check`` is going to find."""
    findings: list[Finding] = []
    monkeypatch.setattr("dapr_cli.commands.check._here", lambda *_: findings)
    return findings


def test_check_finds_nothing(dapr, found: list[Finding]) -> None:
    outcome = dapr("check")
    assert (outcome.code, outcome.out, outcome.err) == (0, "✅  No problems were found.\n", "")
    assert (dapr("check", "-o", "json").out, dapr("check", "-o", "yaml").out) == ("[]", "[]\n")


def test_check_finds_something(dapr, found: list[Finding]) -> None:
    found += FOUND
    outcome = dapr("check")
    assert (outcome.code, outcome.err) == (1, "")
    assert outcome.out == (
        "SEVERITY  AREA       SUBJECT                  PROBLEM    FIX\n"
        "error     resources  typo.yaml (Component x)  two lines  Correct it.\n"
        "warning   clock      here                     is late    Set it.\n"
    )
    outcome = dapr("check", "-o", "yaml")
    assert outcome.out.startswith(
        "- severity: error\n  area: resources\n  subject: typo.yaml (Component x)\n"
    )
    found.pop()
    assert dapr("check").code == 0, "a warning is no failure"


def test_what_can_be_annotated(dapr, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("kind: Service")
    outcome = dapr("annotate", "-k", str(tmp_path / "x.yaml"))
    assert (outcome.code, outcome.out) == (1, "")
    kinds = "Pod, Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob"
    assert outcome.err.splitlines() == [
        f"❌  there is no workload in {tmp_path}/x.yaml",
        f"{SIGN}What can be annotated: {kinds}.",
    ]


def test_a_manifest_that_is_too_large(dapr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dapr_cli.commands.annotate._MOST_BYTES", 1 << 20)
    monkeypatch.setenv("no_proxy", "*")
    with serving(lambda _: Answered(200, b" " * ((1 << 20) + 1))) as url:
        outcome = dapr("annotate", "-k", f"{url}/x.yaml")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == f"❌  {url}/x.yaml is larger than 1 MiB\n"


def test_no_dashboard(dapr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dapr_cli.commands.dashboard.find_spec", lambda _: None)
    outcome = dapr("dashboard")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines() == [
        "❌  the dashboard is not installed: the package dapr_dashboard is missing",
        f"{SIGN}Install this CLI again from where it came, with the extra 'dashboard', too.",
    ]


def test_no_daprd(dapr, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (tmp_path / "resources").mkdir()
    outcome = dapr("run", "-c", "", "--resources-path", str(tmp_path / "resources"), "--", "true")
    assert outcome.code == 1
    assert outcome.err.splitlines()[-2:] == [
        f"❌  daprd was not found in {home}/.dapr/bin",
        f"{SIGN}Run 'dapr init' first.",
    ]


def test_certificates_where_they_are_already(dapr, home: Path) -> None:
    assert dapr("init", "--slim", "--mtls").code == 0
    certs = home / ".dapr" / "certs"
    outcome = dapr("mtls", "export", "-o", str(certs))
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines() == [
        f"❌  {certs} is where they are already",
        f"{SIGN}Choose another directory: --out DIR",
    ]
    outcome = dapr("mtls", "export", "-o", str(home / "out"))
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"✅  Trust certs successfully exported to {home}/out\n"


def test_another_program_in_the_place_of_daprd(dapr, home: Path) -> None:
    daprd = home / ".dapr" / "bin" / "daprd"
    daprd.parent.mkdir(parents=True)
    daprd.write_bytes(b"\x7fELF another runtime")
    assert dapr("init").err.splitlines() == [
        f"❌  {daprd} is another program",
        f"{SIGN}'dapr uninstall' removes it; then init again.",
    ]


def test_what_uninstall_leaves(dapr, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dapr_cli.instances.daprd_processes", list)
    dapr("init", "--slim")
    root = home / ".dapr"
    outcome = dapr("uninstall")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        f"✅  {root}/bin is removed",
        f"{SIGN}Configuration, components and data stay in {root} (see --all)",
    ]
    outcome = dapr("uninstall", "--all")
    assert outcome.out == f"✅  {root} is removed\n"
    assert outcome.err == f"⚠  {root}/bin does not exist\n"


def test_what_cannot_be_removed(dapr, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", f"{path}/daprd")

    monkeypatch.setattr("dapr_cli.instances.daprd_processes", list)
    monkeypatch.setattr("shutil.rmtree", refuse)
    dapr("init", "--slim")
    outcome = dapr("uninstall")
    assert outcome.code == 0, "as the official CLI"
    place = f"{home}/.dapr/bin"
    assert outcome.err == f"❌  {place} cannot be removed: {place}/daprd: Permission denied\n"
