"""``-o table|json|yaml`` means the same for every command that lists, and shells know the words."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from harness.authorities import now

from dapr_cli.__main__ import VERBS, root
from dapr_cli.authority_files import write
from dapr_common.security.authority import Life, new_bundle

LISTING = (
    ["check"],
    ["list"],
    ["components"],
    ["configurations"],
    ["mcpservers"],
    ["status"],
    ["mtls", "expiry"],
)


def found(words: list[str]) -> click.Command:
    command: click.Command | None = root()
    for word in words:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    assert command is not None
    return command


@pytest.mark.parametrize("words", LISTING, ids=" ".join)
def test_the_formats_are_the_same_everywhere(words: list[str], dapr) -> None:
    (option,) = [one for one in found(words).params if one.name == "output"]
    assert {"-o", "--output"} == set(option.opts)
    assert isinstance(option.type, click.Choice)
    assert list(option.type.choices)[:3] == ["table", "json", "yaml"]
    assert option.default == "table"
    outcome = dapr(*words, "-o", "xml")
    assert outcome.code == 255
    assert "'xml' is not one of 'table', 'json', 'yaml'" in outcome.err


@pytest.mark.parametrize(("lasts", "code"), [(timedelta(days=9), 0), (timedelta(hours=-1), 1)])
def test_expiry_for_programs(lasts: timedelta, code: int, dapr, tmp_path: Path) -> None:
    life = Life.of(now() - timedelta(days=1), lasts + timedelta(days=1, minutes=30), timedelta(0))
    write(tmp_path / "certs", new_bundle("localhost", "default", life))
    arguments = ["mtls", "expiry", "--issuer-credentials", str(tmp_path / "certs"), "-o"]
    outcome = dapr(*arguments, "json")
    assert (outcome.code, outcome.err) == (code, "")
    records: list[dict[str, Any]] = json.loads(outcome.out)
    assert [one["certificate"] for one in records] == ["root", "issuer"]
    assert {one["expired"] for one in records} == {bool(code)}
    assert {one["hoursLeft"] for one in records} == {0 if code else 9 * 24}
    assert all(one["expires"].endswith("Z") for one in records)
    assert yaml.safe_load(dapr(*arguments, "yaml").out) == [
        {**one, "expires": one["expires"]} for one in records
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("dapr ", sorted(VERBS)),
        ("dapr che", ["check"]),
        ("dapr mtls ", ["expiry", "export", "renew-certificate"]),
        ("dapr check --o", ["--output"]),
        ("dapr mtls expiry -o ", ["json", "table", "yaml"]),
        ("dapr init --mt", ["--mtls"]),
    ],
)
def test_what_a_shell_completes(words: str, expected: list[str]) -> None:
    typed = words.split() + ([""] if words.endswith(" ") else [])
    done = subprocess.run(
        [Path(sys.executable).with_name("dapr")],
        env={
            "_DAPR_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(typed) - 1),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    offered = sorted(line.partition(",")[2] for line in done.stdout.splitlines())
    assert offered == expected
