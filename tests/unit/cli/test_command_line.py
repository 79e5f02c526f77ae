"""Verbs, global flags, exit codes and messages of ``dapr`` itself."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from dapr_cli.__main__ import VERBS, root
from dapr_cli.session import Session


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb(verb: str, dapr) -> None:
    outcome = dapr(verb, "--help")
    assert outcome.code == 0
    assert f"Usage: dapr {verb}" in outcome.out
    assert "--runtime-path" in outcome.out
    module = import_module(f"dapr_cli.commands.{verb.replace('-', '_')}")
    command = getattr(module, f"{verb.replace('-', '_')}_command")
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert [p.name for p in options if not (p.help or p.hidden)] == []
    # The line in the list of commands says what the command says of itself.
    assert VERBS[verb].rstrip(".").split(":")[0] in command.help.replace("\n", " ")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_root_help_lists_the_verbs(arguments: list[str], dapr) -> None:
    outcome = dapr(*arguments)
    assert outcome.code == 0
    for verb, text in VERBS.items():
        assert f"{verb} " in outcome.out
        assert text in outcome.out


def test_root_help_imports_no_verb() -> None:
    program = (
        "import sys; from dapr_cli.__main__ import main; main(['--help']);"
        "heavy = {'asyncio', 'yaml', 'http.client', 'aiohttp', 'rich', 'dapr_common.kube'};"
        "verbs = [m for m in sys.modules if m.startswith('dapr_cli.commands')];"
        "print('LOADED', sorted(heavy & sys.modules.keys()), verbs)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.splitlines()[-1] == "LOADED [] []"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "unknown command 'lst' for 'dapr', did you mean 'list'?"),
        (["bulletin"], "unknown command 'bulletin' for 'dapr'"),
        (["dashboard", "-p", "x"], "'x' is not a valid integer"),
        (["--nope"], "No such option '--nope'"),
        (["run", "--nope"], "No such option '--nope'"),
        (["run", "--app-port", "x"], "'x' is not a valid integer"),
        (["run", "--enable-profiling=maybe"], "invalid argument 'maybe' for --enable-profiling"),
        (["invoke", "-m", "x"], "Missing option '-a' / '--app-id'"),
        (["list", "-o", "xml"], "'xml' is not one of 'table', 'json', 'yaml'"),
        (["stop"], "say what to stop"),
        (["stop", "-k", "orders"], "-k stops the apps of a run file: give --run-file FILE"),
        (["run", "-k", "--app-id", "orders"], "-k runs the apps of a run file: give --run-file"),
        (["init", "--slim", "--redis"], "choose one"),
        (["init", "-k", "--redis"], "leave them out with -k"),
        (["init", "-k", "--enable-ha=maybe"], "'maybe' is not a valid boolean"),
        (["init", "-k", "--issuer-private-key", "x"], "the three files go together"),
        (["annotate", "-k", "--enable-metrics=maybe", "-"], "'maybe' is not a valid boolean"),
        (["mtls", "expiry", "-k", "--issuer-credentials", "x"], "leave it out with -k"),
        (["publish", "-i", "a", "-p", "p", "-t", "t", "-d", "1", "-f", "x"], "only one of --data"),
    ],
)
def test_wrong_usage_ends_with_255(arguments: list[str], message: str, dapr) -> None:
    outcome = dapr(*arguments)
    assert outcome.code == 255
    assert message in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["init", "-k"], 1),
        (["upgrade", "-k"], 1),
        (["uninstall", "-k"], 0),  # as the official CLI ends
        (["status", "-k"], 1),
        (["list", "-k"], 1),
        (["logs", "-k", "-a", "orders"], 1),
        (["components", "-k"], 1),
        (["configurations", "-k"], 1),
        (["mtls", "-k"], 1),
        (["mtls", "-k", "expiry"], 1),
        (["mtls", "expiry", "-k"], 1),
        (["mtls", "export", "-k"], 1),
        (["mtls", "renew-certificate", "-k"], 1),
    ],
)
def test_without_a_kubeconfig(arguments: list[str], code: int, dapr, kubeconfig: Path) -> None:
    outcome = dapr(*arguments)
    assert outcome.code == code
    assert f"there is no kubeconfig: {kubeconfig} does not exist" in outcome.err
    assert "Name your kubeconfig file with the variable KUBECONFIG." in outcome.err
    assert outcome.out == ""


def test_status_lines_as_json(dapr, home: Path) -> None:
    outcome = dapr("--log-as-json", "init", "--slim")
    assert outcome.code == 0
    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert {record["status"] for record in records} == {"pending", "success", "info"}
    assert all(list(record) == ["time", "status", "msg"] for record in records)
    assert records[0]["msg"] == f"Setting Dapr up in {home / '.dapr'}"
    assert records[0]["time"].endswith("Z")


def test_global_flags_stand_before_or_after_the_verb(dapr, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    assert dapr("--runtime-path", str(before), "init", "--slim").code == 0
    assert dapr("init", "--slim", f"--runtime-path={after}", "--log-as-json=false").code == 0
    assert (before / ".dapr" / "bin" / "daprd").exists()
    assert (after / ".dapr" / "bin" / "daprd").exists()


def test_flags_before_the_verb_take_true_and_false(dapr, tmp_path: Path) -> None:
    path = str(tmp_path)
    for words in (["--log-as-json=true", "--runtime-path", path], [f"--runtime-path={path}"]):
        outcome = dapr(*words, "init", "--slim")
        assert outcome.code == 0
        assert outcome.out.startswith("{") is (len(words) > 1)
    assert dapr("--log-as-json=maybe", "list").code == 255
    # What stands behind the verb is the verb's.
    assert "couldn't find app id -v=GET" in dapr("stop", "-a", "-v=GET").err


def test_switches_take_true_and_false() -> None:
    command = root().get_command(None, "init")
    context = command.make_context("init", ["--slim=false", "--redis=true"], obj=Session())
    assert context.params["slim"] is False
    assert context.params["redis"] is True


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["-a=orders", "-p=80", "-f="], {"app_id": "orders", "app_port": 80, "run_file": ""}),
        (["-aorders", "-p", "-1"], {"app_id": "orders", "app_port": -1}),
        (["-ka=orders", "-kf", "x"], {"kubernetes": True, "app_id": "orders", "run_file": "x"}),
        (["-a==x", "-c=a=b"], {"app_id": "=x", "config": "a=b"}),
        (
            ["-a", "-c=d", "--config", "--log-as-json=x"],
            {"app_id": "-c=d", "config": "--log-as-json=x"},
        ),
        (
            ["-k=false", "x", "-a=y", "--", "-a=z"],
            {"kubernetes": False, "app_id": "y", "command": ("x", "-a=z")},
        ),
        (["-z=1"], "No such option '-z'"),
        (["-k=x"], "invalid argument 'x' for -k"),
    ],
)
def test_short_flags_in_the_spellings_of_go(given: list[str], expected: object) -> None:
    command = root().get_command(None, "run")
    if isinstance(expected, str):
        with pytest.raises(click.UsageError, match=expected):
            command.make_context("run", given, obj=Session())
        return
    context = command.make_context("run", given, obj=Session())
    assert {name: context.params[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("given", "mtls", "ha"),
    [
        ([], True, False),
        (["--enable-mtls=false", "--enable-ha"], False, True),
        (["--enable-mtls", "--enable-ha=true"], True, True),
    ],
)
def test_switches_that_are_on_by_default(given: list[str], mtls: bool, ha: bool) -> None:
    command = root().get_command(None, "init")
    context = command.make_context("init", ["-k", *given], obj=Session())
    assert (context.params["enable_mtls"], context.params["enable_ha"]) == (mtls, ha)


def test_upgrade_is_of_clusters(dapr) -> None:
    outcome = dapr("upgrade")
    assert outcome.code == 1
    assert "dapr upgrade works on a Kubernetes cluster only: say -k" in outcome.err


def test_version(dapr, home: Path) -> None:
    ours = version("dapr-runtime")
    dapr("init", "--slim")
    for arguments in (["version"], ["--version"], ["-v"]):
        outcome = dapr(*arguments)
        assert outcome.code == 0
        assert outcome.out == f"CLI version: {ours} \nRuntime version: 1.18.3\n"
    outcome = dapr("version", "-o", "json")
    assert outcome.out == f'{{"Cli version":"{ours}","Runtime version":"1.18.3"}}\n'


def test_version_without_a_runtime(
    dapr, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    outcome = dapr("version")
    assert outcome.code == 0
    assert outcome.out.endswith("\nRuntime version: n/a\n")


def test_build_info(dapr, home: Path) -> None:
    outcome = dapr("build-info")
    assert outcome.code == 0
    assert "\tVersion: 1.18.3\n\tGit Commit: n/a\n\tGit Version: n/a\n" in outcome.out
    assert outcome.out.startswith(f"CLI:\n\tVersion: {version('dapr-runtime')}\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, dapr) -> None:
    outcome = dapr("completion", shell)
    assert outcome.code == 0
    assert "_DAPR_COMPLETE" in outcome.out


def test_a_reader_that_goes_away_is_no_error() -> None:
    script = Path(sys.executable).with_name("dapr")
    done = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", f"'{script}' run --help | true; true"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("output", "text"),
    [("table", "ℹ️  No Dapr instances found.\n"), ("json", "[]"), ("yaml", "[]\n")],  # noqa: RUF001
)
def test_a_list_of_nothing(output: str, text: str, dapr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dapr_cli.instances.daprd_processes", list)
    outcome = dapr("list", "-o", output)
    assert (outcome.code, outcome.out, outcome.err) == (0, text, "")


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        (["init", "--slim", "--wait", "--image-registry", "x"], ["--wait", "--image-registry"]),
        (["uninstall", "-n", "other"], ["--namespace"]),
        (["list", "--namespace", "other", "-o", "json"], ["--namespace"]),
    ],
)
def test_flags_that_only_count_in_a_cluster(
    arguments: list[str], flags: list[str], dapr, home: Path
) -> None:
    outcome = dapr(*arguments)
    assert outcome.code == 0
    said = [line for line in outcome.err.splitlines() if "without -k" in line]
    assert said == [f"⚠  {flag} has no effect without -k" for flag in sorted(flags, reverse=True)]


@pytest.mark.parametrize("verb", [["upgrade", "-k"], ["init", "-k"], ["mtls", "rnc", "-k"]])
def test_images_have_no_variants(verb: list[str], dapr) -> None:
    outcome = dapr(*verb, "--image-variant", "mariner")
    assert "--image-variant has no effect: the images have no variants" in outcome.err
