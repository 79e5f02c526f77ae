"""Every flag of Dapr's daprd: spellings, defaults, refusals, help."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dapr_common import flags
from dapr_common.flags import FlagError
from dapr_sidecar import options
from dapr_sidecar.flag_table import FLAGS
from dapr_sidecar.options import Command, Options, OptionsError

# Name, kind, default of every flag of daprd 1.18; "-" before a name: left out of --help.
REFERENCE = """
actors-disseminate-timeout duration 30s
-actors-service string
allowed-origins string
app-binding-options-timeout duration 3s
app-channel-address string 127.0.0.1
app-health-check-path string /healthz
app-health-probe-interval int 5
app-health-probe-timeout int 500
app-health-threshold int 3
app-id string
app-max-concurrency int -1
app-port string
app-protocol string http
-app-ssl bool false
build-info bool false
-components-path string
config stringSlice
control-plane-address string
control-plane-namespace string default
control-plane-trust-domain string localhost
dapr-block-shutdown-duration duration 0s
dapr-graceful-shutdown-seconds int 5
dapr-grpc-port string 50001
-dapr-http-max-request-size int 4
dapr-http-port string 3500
-dapr-http-read-buffer-size int 4
dapr-internal-grpc-listen-address string
dapr-internal-grpc-port string
dapr-listen-addresses string
dapr-public-listen-address string
dapr-public-port string
disable-builtin-k8s-secret-store bool false
disable-init-endpoints stringSlice
enable-api-logging bool false
enable-app-health-check bool false
enable-metrics bool true
enable-mtls bool false
enable-profiling bool false
hot-reload-reconcile-interval duration 0s
log-as-json bool false
log-file string
log-level string info
max-body-size string 4Mi
metrics-listen-address string 0.0.0.0
metrics-port string 9090
mode string standalone
placement-host-address string
profile-port string 7777
read-buffer-size string 4Ki
-reminders-service string
resources-path stringSlice
scheduler-host-address stringSlice
scheduler-job-streams uint 3
sentry-address string
sentry-request-jwt-audiences stringSlice
unix-domain-socket string
version bool false
wait bool false
"""
# Flags that Dapr does not have.
OWN = """
enable-python-components bool false
python-components-path stringSlice
"""
ROWS = [line.split() for line in (REFERENCE.strip() + OWN.rstrip()).splitlines()]
SAMPLES: dict[str, tuple[str, Any]] = {
    "string": ("text", "text"),
    "bool": ("true", True),
    "int": ("7", 7),
    "uint": ("7", 7),
    "duration": ("1m30s", timedelta(seconds=90)),
    "stringSlice": ("a,b", ["a", "b"]),
}
WITHOUT_EFFECT = ("enable-profiling", "profile-port")
REPLACED = (
    "app-ssl",
    "components-path",
    "dapr-http-max-request-size",
    "dapr-http-read-buffer-size",
)


def read(*arguments: str, **environment: str) -> Options:
    found = options.read(["--app-id", "a", *arguments], environment)
    assert isinstance(found, Options)
    return found


def value_of(parsed: flags.Parsed, name: str, kind: str) -> object:
    reader = {
        "string": parsed.text,
        "bool": parsed.flag,
        "int": parsed.number,
        "uint": parsed.number,
        "duration": parsed.duration,
        "stringSlice": parsed.texts,
    }[kind]
    return reader(name)


def test_no_flag_is_missing_or_too_many() -> None:
    assert sorted(flag.name for flag in FLAGS) == sorted(row[0].lstrip("-") for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].lstrip("-"))
def test_kind_default_and_help(row: list[str]) -> None:
    name, kind, *default = row
    flag = next(flag for flag in FLAGS if flag.name == name.lstrip("-"))
    assert flag.kind == kind
    shown = options.help_text()
    line = re.search(rf"^  --{flag.name}\b.*$", shown, re.MULTILINE)
    assert (line is None) == name.startswith("-")
    if line is None:
        return
    if default and default != ["false"] and default != ["0s"]:
        assert line[0].endswith(f"(default {default[0]})")
    assert ("no effect" in line[0]) == (flag.name in WITHOUT_EFFECT)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].lstrip("-"))
def test_spellings(row: list[str]) -> None:
    name, kind = row[0].lstrip("-"), row[1]
    text, expected = SAMPLES[kind]
    spellings = [[f"--{name}={text}"], [f"-{name}={text}"]]
    if kind == "bool":
        spellings += [[f"--{name}"], [f"-{name}"]]
    else:
        spellings += [[f"--{name}", text], [f"-{name}", text]]
    for arguments in spellings:
        parsed = flags.parse(FLAGS, arguments)
        assert value_of(parsed, name, kind) == expected
        assert name in parsed.given
        assert bool(parsed.notices) == (name in REPLACED)
    if kind == "stringSlice":
        parsed = flags.parse(FLAGS, [f"--{name}=a", f"--{name}", "b,c"])
        assert parsed.texts(name) == ["a", "b", "c"]
    if kind not in ("string", "stringSlice"):
        with pytest.raises(FlagError, match=f'invalid argument "x" for "--{name}" flag'):
            flags.parse(FLAGS, [f"--{name}=x"])
    if kind == "bool":
        assert value_of(flags.parse(FLAGS, [f"--{name}=F"]), name, kind) is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["---app-id=a"], "bad flag syntax"),
        (["--=a"], "bad flag syntax"),
        (["--app-port"], "flag needs an argument: --app-port"),
        (["word"], 'unexpected argument "word"'),
        (["--enable-metrics", "false"], 'unexpected argument "false"'),
        (["--scheduler-job-streams=-1"], "zero or more"),
        (["--app-health-threshold=1_0"], "expected a whole number"),
    ],
)
def test_a_command_line_that_cannot_be_read_is_status_2(arguments: list[str], message: str) -> None:
    with pytest.raises(FlagError, match=re.escape(message)) as caught:
        options.read(arguments, {})
    assert caught.value.status == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--app-id="], "app-id cannot be empty"),
        (["--app-id=a.b"], "cannot contain dots"),
        (["--mode=cluster"], "use standalone or kubernetes"),
        (["--mode=kubernetes"], "--mode kubernetes needs the operator's host:port"),
        (
            ["--mode=kubernetes", "--control-plane-address=o:1", "--config=a,b"],
            "--config names one Configuration object in Kubernetes mode",
        ),
        (["--log-level=loud"], "invalid value for --log-level: loud"),
        (["--app-protocol=smtp"], "use http, https, h2c, grpc, grpcs"),
        (["--app-port=x"], "expected a port"),
        (["--dapr-http-port=65536"], "expected a port"),
        (["--dapr-grpc-port=-1"], "expected a port"),
        (["--metrics-port="], "expected a port"),
        (["--dapr-http-port=+80"], "expected a port"),
        (["--app-port=3500"], "conflicts with 'app-port'"),
        (["--app-port=50001"], "conflicts with 'app-port'"),
        (["--dapr-http-port=50001"], "conflicts with 'dapr-http-port'"),
        (["--disable-init-endpoints=config,all"], "use config, subscribe"),
        (["--max-body-size=4Q"], "invalid value for --max-body-size"),
        (["--read-buffer-size=big"], "invalid value for --read-buffer-size"),
        (["--actors-disseminate-timeout=0s"], "must be greater than 0"),
        (
            [
                "--enable-app-health-check",
                "--app-port=80",
                "--app-health-probe-interval=1",
                "--app-health-probe-timeout=1001",
            ],
            "must not exceed",
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_status_1(arguments: list[str], message: str) -> None:
    with pytest.raises(OptionsError, match=re.escape(message)) as caught:
        options.read(["--app-id=a", *arguments], {})
    assert caught.value.status == 1


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["--version"], "version"),
        (["-build-info"], "build-info"),
        (["--wait", "--dapr-http-port=9"], "wait"),
        (["--help"], "help"),
        (["-h"], "help"),
    ],
)
def test_commands_need_no_app_id(arguments: list[str], command: str) -> None:
    found = options.read(arguments, {})
    assert isinstance(found, Command)
    assert found.name == command


def test_environment_stands_in_for_flags_that_are_not_given() -> None:
    found = read(
        DAPR_CONTROLPLANE_NAMESPACE="ns",
        DAPR_CONTROLPLANE_TRUST_DOMAIN="td",
        DAPR_SCHEDULER_HOST_ADDRESS_DNS_A="s1:1, s2:2",
        DAPR_API_TOKEN="in",
        APP_API_TOKEN="out",
        NAMESPACE="n",
    )
    assert (found.control_plane_namespace, found.control_plane_trust_domain) == ("ns", "td")
    assert found.scheduler_addresses == ("s1:1", "s2:2")
    assert (found.api_token, found.app_token, found.namespace) == ("in", "out", "n")
    given = read(
        "--control-plane-namespace=x",
        "--scheduler-host-address=s:1",
        DAPR_CONTROLPLANE_NAMESPACE="ns",
        DAPR_SCHEDULER_HOST_ADDRESS_DNS_A="s1:1",
    )
    assert (given.control_plane_namespace, given.scheduler_addresses) == ("x", ("s:1",))
    none = read("--scheduler-host-address= ", DAPR_SCHEDULER_HOST_ADDRESS_DNS_A="s1:1")
    assert none.scheduler_addresses == ()
    spaced = read("--scheduler-host-address=s1:1, s2:2 ,", "--scheduler-host-address", "s3:3")
    assert spaced.scheduler_addresses == ("s1:1", "s2:2", "s3:3")


@pytest.mark.parametrize("text", ["y", "Yes", "TRUE", "t", "on", "1"])
def test_h2c_can_be_switched_off(text: str) -> None:
    assert read().h2c
    assert not read(DAPR_HTTP_DISABLE_H2C=text).h2c


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ([], 4 << 20),
        (["--max-body-size=1Ki"], 1024),
        (["--max-body-size=-1"], 4 << 20),
        (["--max-body-size=0"], None),
        (["--dapr-http-max-request-size=2"], 2 << 20),
        (["--dapr-http-max-request-size=-1"], 4 << 20),
        (["--dapr-http-max-request-size=2", "--max-body-size=1Ki"], 1024),
    ],
)
def test_body_size(arguments: list[str], size: int | None) -> None:
    assert read(*arguments).max_body_bytes == size


def test_deprecated_flags_work_and_say_what_replaces_them() -> None:
    found = read("--app-ssl", "--components-path=c", "--dapr-http-read-buffer-size=8")
    assert (found.app_protocol, found.resources_paths) == ("https", ("c",))
    assert found.read_buffer_bytes == 8 << 10
    assert any("use --resources-path" in notice for notice in found.notices)
    assert read("--app-protocol=GRPC", "--app-ssl").app_protocol == "grpcs"
    assert read("--app-protocol=").app_protocol == "http"
    assert read("--components-path=c", "--resources-path=r").resources_paths == ("r",)


def test_three_states_and_defaults_of_what_is_not_positive() -> None:
    assert read().api_logging is None
    assert read("--enable-api-logging=false").api_logging is False
    assert read("--dapr-graceful-shutdown-seconds=-3").graceful_shutdown == 5
    assert read("--dapr-graceful-shutdown-seconds=0").graceful_shutdown is None
    assert read().block_shutdown is None
    assert read("--dapr-block-shutdown-duration=0s").block_shutdown == timedelta(0)
    assert read("--hot-reload-reconcile-interval=-1s").reconcile_interval == 60
    assert read("--app-binding-options-timeout=0s").app_binding_options_timeout == 3
    assert read("--dapr-public-port=").public_port is None
    health = read("--enable-app-health-check").app_health
    assert not health.enabled  # there is no app to probe
    health = read(
        "--enable-app-health-check",
        "--app-port=80",
        "--app-health-check-path=up",
        "--app-health-probe-interval=0",
        "--app-health-probe-timeout=-1",
        "--app-health-threshold=0",
    ).app_health
    assert health.enabled
    assert (health.path, health.interval, health.timeout, health.threshold) == ("/up", 5, 0.5, 3)


@pytest.mark.parametrize(
    ("user", "variable", "mode", "refused"),
    [
        (0, "", "kubernetes", True),
        (0, "1", "kubernetes", True),
        (0, "true", "kubernetes", False),
        (1000, "", "kubernetes", False),
        (0, "", "standalone", False),
    ],
)
def test_root_is_refused_in_a_cluster(
    monkeypatch: pytest.MonkeyPatch, user: int, variable: str, mode: str, refused: bool
) -> None:
    monkeypatch.setattr("os.getuid", lambda: user)
    monkeypatch.setenv("DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK", variable)
    arguments = ["--app-id=a", f"--mode={mode}", "--control-plane-address=o:1"]
    if refused:
        with pytest.raises(OptionsError, match="running as root is refused"):
            options.from_process(arguments)
    else:
        assert isinstance(options.from_process(arguments), Options)


def test_components_in_python_files_are_off_until_they_are_switched_on() -> None:
    assert read().python_folders is None
    on = "--enable-python-components"
    assert read(on, "--resources-path=a,b").python_folders == (Path("a"), Path("b"))
    named = ("--python-components-path", "c", "--python-components-path=d")
    assert read(on, "--resources-path=a", *named).python_folders == (Path("c"), Path("d"))
    with pytest.raises(OptionsError, match="means nothing without --enable-python-components"):
        read(*named)
    cluster = ("--mode=kubernetes", "--control-plane-address=a:1")
    with pytest.raises(OptionsError, match="needs --python-components-path in Kubernetes mode"):
        read(on, *cluster)
    assert read(on, *named, *cluster).python_folders == (Path("c"), Path("d"))
    assert read(*cluster).python_folders is None


@pytest.mark.parametrize(
    ("environment", "folder", "named"),
    [
        ({}, "/tmp/dapr-components-sockets", False),
        ({"DAPR_COMPONENTS_SOCKETS_FOLDER": ""}, "/tmp/dapr-components-sockets", False),
        ({"DAPR_COMPONENTS_SOCKETS_FOLDER": "/a"}, "/a", True),
        ({"DAPR_COMPONENT_SOCKETS_FOLDER": "/i"}, "/i", True),  # as the injector spells it
        (
            {"DAPR_COMPONENT_SOCKETS_FOLDER": "/i", "DAPR_COMPONENTS_SOCKETS_FOLDER": "/a"},
            "/a",
            True,
        ),
    ],
)
def test_the_folder_of_sockets(environment: dict[str, str], folder: str, named: bool) -> None:
    found = read(**environment)
    assert (found.component_sockets, found.wait_for_sockets) == (Path(folder), named)
