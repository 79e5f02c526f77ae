"""What scripts written for the official CLI rely on: verbs, flags with their short forms, defaults,
environment variables, exit codes, the exact text of short answers."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from dapr_cli.__main__ import root
from dapr_cli.commands.run import run_command

EVERYWHERE = "--log-as-json --runtime-path --help"
# Verb → its flags; a short form stands before its long one, a default behind it.
FLAGS = {
    "annotate": "-k|--kubernetes -r|--resource -n|--namespace -a|--app-id -p|--app-port "
    "-c|--config --app-protocol --enable-profile --log-level --api-token-secret "
    "--app-token-secret --app-max-concurrency --enable-metrics --metrics-port --env "
    "--cpu-limit --cpu-request --memory-limit --memory-request --listen-addresses "
    "--liveness-probe-delay --liveness-probe-period --liveness-probe-threshold "
    "--liveness-probe-timeout --readiness-probe-delay --readiness-probe-period "
    "--readiness-probe-threshold --readiness-probe-timeout --dapr-image --max-body-size "
    "--read-buffer-size --graceful-shutdown-seconds --enable-api-logging "
    "--unix-domain-socket-path --volume-mounts --volume-mounts-rw "
    "--disable-builtin-k8s-secret-store --placement-host-address",
    "build-info": "",
    "completion": "",
    "components": "-k|--kubernetes -n|--name --namespace -A|--all-namespaces -o|--output",
    "configurations": "-k|--kubernetes -n|--name --namespace -A|--all-namespaces -o|--output",
    "dashboard": "-k|--kubernetes -a|--address=localhost -p|--port=8080 -n|--namespace "
    "-v|--version",
    "init": "-k|--kubernetes --dev --wait --timeout=300 -s|--slim --runtime-version "
    "-n|--namespace=dapr-system --enable-mtls=True --enable-ha=False --network --from-dir "
    "--image-variant --scheduler-volume --scheduler-override-broadcast-host-port --redis-stack "
    "--set --image-registry --container-runtime --ca-root-certificate --issuer-private-key "
    "--issuer-public-certificate",
    "invoke": "-a|--app-id -m|--method -d|--data -f|--data-file -v|--verb=POST "
    "-u|--unix-domain-socket",
    "list": "-k|--kubernetes -A|--all-namespaces --namespace -o|--output",
    "logs": "-k|--kubernetes -a|--app-id -p|--pod-name -n|--namespace=default",
    "mcpservers": "-k|--kubernetes -n|--name --namespace -A|--all-namespaces -o|--output "
    "--resources-path",
    "mtls": "-k|--kubernetes",
    "mtls expiry": "",
    "mtls export": "-o|--out",
    "mtls renew-cert": "-k|--kubernetes --valid-until=365",
    "mtls rnc": "-k|--kubernetes --valid-until=365",
    "mtls renew-certificate": "-k|--kubernetes --private-key --ca-root-certificate "
    "--issuer-private-key --issuer-public-certificate --valid-until=365 --restart "
    "--timeout=300 --image-variant",
    "publish": "-i|--publish-app-id -p|--pubsub -t|--topic -d|--data -f|--data-file "
    "-m|--metadata -u|--unix-domain-socket",
    "run": "-a|--app-id -p|--app-port=-1 -c|--config -H|--dapr-http-port=-1 "
    "-G|--dapr-grpc-port=-1 -I|--dapr-internal-grpc-port=-1 --enable-profiling "
    "--profile-port=-1 --log-level=info --app-max-concurrency=-1 -P|--app-protocol=http "
    "-d|--components-path --resources-path --placement-host-address=localhost "
    "--scheduler-host-address=localhost --app-ssl -M|--metrics-port=-1 --max-body-size=4Mi "
    "--read-buffer-size=4Ki -u|--unix-domain-socket --enable-app-health-check "
    "--app-health-check-path --app-health-probe-interval=0 --app-health-probe-timeout=0 "
    "--app-health-threshold=0 --enable-api-logging -k|--kubernetes --dapr-listen-addresses "
    "-f|--run-file --app-channel-address=127.0.0.1",
    "status": "-k|--kubernetes",
    "stop": "-k|--kubernetes -a|--app-id -f|--run-file",
    "uninstall": "-k|--kubernetes --dev --all --timeout=300 --network "
    "-n|--namespace=dapr-system --container-runtime",
    "upgrade": "-k|--kubernetes --runtime-version --set --timeout=300 --image-registry "
    "--image-variant",
    "version": "-o|--output",
}


def command(words: str) -> click.Command:
    found: click.Command | None = root()
    for word in words.split():
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), word)
    assert found is not None, words
    return found


@pytest.mark.parametrize("words", FLAGS)
def test_every_flag_is_taken(words: str) -> None:
    one = command(words)
    context = click.Context(one)
    options = [p for p in one.get_params(context) if isinstance(p, click.Option)]
    for flag in f"{FLAGS[words]} {EVERYWHERE}".split():
        names, _, default = flag.partition("=")
        (option,) = [each for each in options if names.split("|")[-1] in each.opts]
        assert set(names.split("|")) <= set(option.opts), flag
        if default:
            assert str(option.get_default(context)) == default, flag


@pytest.mark.parametrize(("verb", "lacks"), [("workflow", "workflows"), ("scheduler", "Scheduler")])
def test_what_is_not_in_this_product(verb: str, lacks: str, dapr) -> None:
    for arguments in ([verb], [verb, "list", "-k"]):
        outcome = dapr(*arguments)
        assert (outcome.code, outcome.out) == (1, "")
        first, second = outcome.err.splitlines()
        assert first.startswith(f"❌  dapr {verb}: this ")
        assert lacks in first
        assert second.startswith("ℹ️  ")  # noqa: RUF001 - the sign
    assert f"{verb} " not in dapr("--help").out


def test_help_is_a_verb_too(dapr) -> None:
    assert dapr("help").out == dapr("--help").out
    outcome = dapr("help", "mtls", "expiry")
    assert outcome == dapr("mtls", "expiry", "--help")
    assert outcome.out.startswith("Usage: dapr mtls expiry")
    outcome = dapr("help", "lst")
    assert (outcome.code, "unknown command 'lst'" in outcome.err) == (255, True)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--network", "n", "--container-runtime", "podman"], ["--network", "--container-runtime"]),
        (["--network="], []),
    ],
)
def test_uninstall_with_flags_of_containers(
    flags: list[str], named: list[str], dapr, home: Path
) -> None:
    dapr("init", "--slim")
    outcome = dapr("uninstall", "--all", *flags)
    assert outcome.code == 0
    warnings = [f"⚠  {flag} has no effect: no containers are used" for flag in named]
    said = [line for line in outcome.err.splitlines() if "containers" in line]
    assert sorted(said) == sorted(warnings)
    assert not (home / ".dapr").exists()


def test_init_with_flags_of_containers(dapr, home: Path) -> None:
    flags = ["--scheduler-volume", "v", "--scheduler-override-broadcast-host-port", "h:1"]
    outcome = dapr("init", "--slim", "--redis-stack", *flags)
    assert outcome.code == 0
    assert {line.split()[1] for line in outcome.err.splitlines()} == {
        "--redis-stack",
        "--scheduler-volume",
        "--scheduler-override-broadcast-host-port",
    }


def test_the_runtimes_version_from_the_environment(
    dapr, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAPR_RUNTIME_VERSION", "1.17.0")
    outcome = dapr("init", "--slim")
    assert outcome.code == 0
    assert outcome.err == "⚠  --runtime-version 1.17.0: this CLI brings 1.18.3 instead\n"


def test_no_repository_of_charts_is_asked(dapr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAPR_HELM_REPO_URL", "https://charts.example.com")
    monkeypatch.setenv("DAPR_DEFAULT_IMAGE_REGISTRY", "elsewhere")
    outcome = dapr("init", "-k")
    assert outcome.code == 1, "there is no kubeconfig"
    assert outcome.err.splitlines()[:2] == [
        "⚠  DAPR_HELM_REPO_URL has no effect: the chart comes with this CLI",
        (
            "⚠  DAPR_DEFAULT_IMAGE_REGISTRY has no effect: images are those of the chart, or of "
            "--image-registry"
        ),
    ]


@pytest.mark.parametrize("group", ["bundle", "mtls"])
def test_a_group_without_a_verb_shows_its_help(dapr, group: str) -> None:
    outcome = dapr(group)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == dapr(group, "--help").out


def test_placement_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAPR_PLACEMENT_HOST_ADDRESS", "far:50005")
    assert run_command.make_context("run", []).params["placement_host_address"] == "far:50005"
    given = run_command.make_context("run", ["--placement-host-address", ""])
    assert given.params["placement_host_address"] == ""


def test_build_info(dapr, home: Path) -> None:
    outcome = dapr("build-info")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == (
        f"CLI:\n\tVersion: {version('dapr-runtime')}\n\tGit Commit: n/a\n"
        "Runtime:\n\tVersion: 1.18.3\n\tGit Commit: n/a\n\tGit Version: n/a\n"
    )


@pytest.mark.parametrize(
    "arguments", [["stop", "nobody-here"], ["uninstall", "-k"], ["stop", "-f", "/nowhere"]]
)
def test_failures_that_end_with_0(arguments: list[str], dapr) -> None:
    outcome = dapr(*arguments)
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.startswith("❌  ")


def test_status_lines_as_json_are_gos(dapr) -> None:
    outcome = dapr("stop", "nobody-here", "--log-as-json")
    assert re.fullmatch(
        r'\{"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ","status":"failure",'
        r"\"msg\":\"failed to stop app id nobody-here: couldn't find app id nobody-here\"\}\n",
        outcome.err,
    )
    outcome = dapr("--log-as-json", "invoke", "-a", "nobody-here", "-m", "x")
    records = [json.loads(line) for line in outcome.err.splitlines()]
    assert [(record["status"], record["msg"]) for record in records] == [
        ("failure", "error invoking app nobody-here: couldn't find app id nobody-here"),
        ("info", "'dapr list' shows the apps that are running."),
    ]
    assert outcome.code == 1
