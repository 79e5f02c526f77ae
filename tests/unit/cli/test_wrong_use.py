"""Wrong use: one line says what is wrong and where, another what to do; never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

SIGN = "ℹ️  "  # noqa: RUF001
LOGIN = f"{SIGN}Name your kubeconfig file with the variable KUBECONFIG."
CLUSTER = f"{SIGN}Is the cluster running? 'kubectl cluster-info' asks the same server."


def kubeconfig_of(server: str) -> str:
    return yaml.safe_dump(
        {
            "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": "secret-token"}}],
        }
    )


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("a: [", "kubeconfig {path} cannot be read: while parsing a flow node", LOGIN),
        ("hello", "kubeconfig {path} is not a mapping", LOGIN),
        ("current-context: b\ncontexts: []", "kubeconfig {path}: there is no context 'b'", LOGIN),
        (kubeconfig_of("nonsense"), "kubeconfig {path}: cluster 'c' has no server URL", LOGIN),
        (kubeconfig_of("https://127.0.0.1:9"), "Cannot connect to host 127.0.0.1:9", CLUSTER),
        (kubeconfig_of("https://no.such.host.invalid"), "no.such.host.invalid:443", CLUSTER),
    ],
)
@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "-k"],
        ["status"],
        ["components"],
        ["configurations", "-o", "json"],
        ["mcpservers", "-k"],
        ["logs", "-a", "x"],
        ["mtls", "-k"],
        ["mtls", "expiry"],
        ["mtls", "export", "-k"],
        ["mtls", "renew-certificate", "-k"],
    ],
    ids=" ".join,
)
def test_a_cluster_that_cannot_be_asked(
    arguments: list[str], text: str, first: str, second: str, dapr, kubeconfig: Path, home: Path
) -> None:
    kubeconfig.write_text(text)
    outcome = dapr(*arguments)
    assert (outcome.code, outcome.out) == (1, "")
    failure, hint = outcome.err.splitlines()
    assert failure.startswith("❌  Kubernetes: ")
    assert first.format(path=kubeconfig) in failure
    assert hint == second
    assert "secret-token" not in outcome.err


def test_a_kubeconfig_that_is_a_directory(dapr, kubeconfig: Path) -> None:
    kubeconfig.mkdir()
    outcome = dapr("status")
    assert outcome.code == 1
    assert f"kubeconfig {kubeconfig} cannot be read" in outcome.err


# A command, and behind it what it says: {i} is the sign of a hint.
SAID = """\
$ run -a x -- true
⚠  {home}/.dapr/config.yaml does not exist, going on without ('dapr init' writes it)
❌  the resources path {home}/.dapr/components does not exist
{i}Run 'dapr init' first.
$ run -f none.yaml
❌  the run file {cwd}/none.yaml does not exist
$ run -f .
❌  the run file {cwd}/dapr.yaml does not exist
$ run -c none.yaml -- true
❌  the configuration file none.yaml does not exist
$ run -c . -- true
❌  the configuration file . is not a file
$ invoke -a nobody-here -m x
❌  error invoking app nobody-here: couldn't find app id nobody-here
{i}'dapr list' shows the apps that are running.
$ publish -i nobody-here -p p -t t
❌  error publishing topic t: couldn't find app id nobody-here
{i}'dapr list' shows the apps that are running.
$ invoke -a x -m x -f none.json
❌  the data file none.json cannot be read: No such file or directory
$ publish -i x -p p -t t -f .
❌  the data file . cannot be read: Is a directory
$ annotate -k none.yaml
❌  none.yaml cannot be read: No such file or directory
$ annotate -k bytes.yaml
❌  bytes.yaml cannot be read: 'utf-8' codec can't decode byte 0xff in position 0: \
invalid start byte
$ annotate -k broken.yaml
❌  broken.yaml: yaml cannot be parsed: while parsing a flow node expected the node content, but \
found '<stream end>' in "<unicode string>", line 1, column 5: a: [ ^
$ annotate -k http://127.0.0.1:9/x.yaml
❌  http://127.0.0.1:9/x.yaml cannot be fetched: Connection refused
$ mtls expiry
❌  {home}/.dapr/certs/ca.crt cannot be read: No such file or directory
{i}Name the directory sentry was started with: --issuer-credentials DIR; or make an authority with \
'dapr init --mtls', or mean the one of your cluster with -k.
$ upgrade
❌  dapr upgrade works on a Kubernetes cluster only: say -k
{i}On this machine the runtime comes with the CLI: upgrade that, then 'dapr init'.
"""
CASES = [case.split("\n", 1) for case in SAID.split("$ ")[1:]]


@pytest.mark.parametrize(("command", "said"), CASES, ids=[command for command, _ in CASES])
def test_what_is_not_there(
    command: str, said: str, dapr, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "bytes.yaml").write_bytes(b"\xff\xfe")
    (work / "broken.yaml").write_text("a: [")
    monkeypatch.chdir(work)
    outcome = dapr(*command.split())
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == said.format(home=home, cwd=work, i=SIGN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "-H"], "Option '-H' requires an argument."),
        (["list", "extra"], "Got unexpected extra argument (extra)"),
        (["invoke", "-a", "x"], "Missing option '-m' / '--method'."),
        (["publish", "-i", "x", "-p", "p"], "Missing option '-t' / '--topic'."),
        (["logs"], "Missing option '-a' / '--app-id'."),
        (["annotate", "-k"], "Missing argument 'FILE|DIR|URL|-'."),
        (["mtls", "nope"], "No such command 'nope'."),
        (["mtls", "renew-certificate", "--valid-until", "0"], "0 is not in the range 1<=x<=36500."),
        (["dashboard", "-p", "99999"], "99999 is not in the range 0<=x<=65535."),
        (["completion"], "Missing argument '{bash|zsh|fish}'."),
        (["completion", "tcsh"], "'tcsh' is not one of 'bash', 'zsh', 'fish'."),
        (["version", "-o", "yaml"], "'yaml' is not 'json'."),
        (["upgrade", "-k", "--timeout", "x"], "'x' is not a valid integer"),
        (["publish", "-i", "x", "-p", "p", "-t", "t", "-m", "{"], "--metadata is no valid JSON"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage_names_the_help(arguments: list[str], message: str, dapr) -> None:
    outcome = dapr(*arguments)
    assert (outcome.code, outcome.out) == (255, "")
    *_, last = [line for line in outcome.err.splitlines() if line.startswith("Error: ")]
    assert message in last
    if "requires an argument" not in message:
        assert f"Try 'dapr {arguments[0]}" in outcome.err
        assert "--help' for help." in outcome.err
