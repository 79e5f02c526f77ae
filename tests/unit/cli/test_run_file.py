"""The multi-app run file: precedence, paths, defaults, what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dapr_cli.errors import CliError
from dapr_cli.run_file import RunFile, parse, run_file_path
from dapr_cli.settings import ContainerSettings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAPR_RUNTIME_PATH", str(tmp_path / "runtime"))
    for name in ("a", "b", "res", "runtime/.dapr/components"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def read(folder: Path, text: str) -> RunFile:
    return parse(text, folder / "dapr.yaml")


def test_the_least(folder: Path) -> None:
    file = read(folder, "version: 1\napps:\n- appDirPath: ./a\n")
    (app,) = file.apps
    assert file.path == str(folder / "dapr.yaml")
    assert file.name == ""
    assert file.warnings == ()
    assert app.app_id == "a"
    assert app.app_dir == folder / "a"
    assert app.command == ()
    assert app.resources == (str(folder / "runtime/.dapr/components"),)
    assert app.config == ""
    assert (app.app_protocol, app.max_body_size, app.read_buffer_size) == ("http", "4Mi", "4Ki")
    assert (app.daprd_log_destination, app.app_log_destination) == ("file", "fileAndConsole")
    assert (app.http_port, app.app_port, app.app_max_concurrency) == (-1, 0, -1)


def test_everything(folder: Path) -> None:
    file = read(
        folder,
        """
version: 1
name: shop
common:
  logLevel: debug
  appProtocol: grpc
  appMaxConcurrency: 7
  enableApiLogging: true
  appHealthThreshold: 5
  env: {A: common, B: 1.10, C: yes, D: }
  daprdLogDestination: console
apps:
- appID: one
  appDirPath: a
  appPort: 8001
  appProtocol: http
  appMaxConcurrency: 0
  daprHTTPPort: 3601
  daprGRPCPort: 3602
  daprInternalGRPCPort: 3603
  metricsPort: 3604
  profilePort: 3605
  enableProfiling: true
  appChannelAddress: 10.0.0.1
  unixDomainSocket: socks
  apiListenAddresses: 127.0.0.1
  maxBodySize: 8Mi
  readBufferSize: 8Ki
  enableAppHealthCheck: true
  appHealthCheckPath: /h
  appHealthProbeInterval: 3
  appHealthProbeTimeout: 200
  placementHostAddress: p
  schedulerHostAddress: s:1
  appSSL: yes
  appLogDestination: file
  env: {A: app}
  command: ["python", "app.py", 1.10]
  containerImage: shop/one:1
  containerImagePullPolicy: Never
  createService: true
- appDirPath: b
""",
    )
    one, two = file.apps
    assert file.name == "shop"
    assert file.warnings == ()
    assert one.env == {"A": "app", "B": "1.10", "C": "yes", "D": ""}
    assert two.env == {"A": "common", "B": "1.10", "C": "yes", "D": ""}
    assert one.command == ("python", "app.py", "1.10")
    assert (one.log_level, one.app_protocol, two.app_protocol) == ("debug", "http", "grpc")
    assert one.app_max_concurrency == 7, "zero counts as not set"
    assert (one.app_port, one.http_port, one.grpc_port) == (8001, 3601, 3602)
    assert (one.internal_grpc_port, one.metrics_port, one.profile_port) == (3603, 3604, 3605)
    assert one.unix_domain_socket == str(folder / "a" / "socks")
    assert (one.app_log_destination, one.daprd_log_destination) == ("file", "console")
    assert (one.app_health_threshold, one.app_health_probe_interval) == (5, 3)
    assert (one.app_health_probe_timeout, one.app_health_check_path) == (200, "/h")
    assert one.enable_profiling
    assert one.app_ssl
    assert one.enable_api_logging
    assert one.enable_app_health_check
    assert (one.placement_host_address, one.scheduler_host_address) == ("p", "s:1")
    assert (one.max_body_size, one.read_buffer_size) == ("8Mi", "8Ki")
    assert (one.app_channel_address, one.listen_addresses) == ("10.0.0.1", "127.0.0.1")
    assert one.container == ContainerSettings(
        image="shop/one:1",
        pull_policy="Never",
        create_service=True,
        place=f"{folder}/dapr.yaml, line 13",
    )
    assert two.container == ContainerSettings(place=f"{folder}/dapr.yaml, line 42")
    assert (two.container.pull_policy, one.given["unixDomainSocket"]) == ("Always", "socks")
    assert (one.given["logLevel"], two.given["logLevel"]) == ("debug", "debug")
    assert "appPort" not in two.given


def test_where_an_app_is_that_was_merged_in(folder: Path) -> None:
    (app,) = read(folder, "x: &x {apps: [{appDirPath: a}]}\nversion: 1\n<<: *x").apps
    assert app.container.place == f"{folder}/dapr.yaml"


COMMON = "version: 1\ncommon: {resourcesPath: res, configFilePath: c.yaml}\napps:\n- appDirPath: a"


def test_where_resources_and_configuration_come_from(folder: Path) -> None:
    (folder / "c.yaml").write_text("")
    default = folder / "runtime/.dapr/config.yaml"
    default.write_text("")

    (app,) = read(folder, "version: 1\napps:\n- appDirPath: a").apps
    assert (app.resources, app.config) == (
        (str(folder / "runtime/.dapr/components"),),
        str(default),
    )

    (app,) = read(folder, COMMON).apps
    assert (app.resources, app.config) == ((str(folder / "res"),), str(folder / "c.yaml"))

    own = folder / "a" / ".dapr"
    (own / "resources").mkdir(parents=True)
    (own / "config.yaml").write_text("")
    (app,) = read(folder, COMMON).apps
    assert (app.resources, app.config) == (
        (str(own / "resources"),),
        str(own / "config.yaml"),
    )

    (folder / "a" / "mine").mkdir()
    (folder / "a" / "mine.yaml").write_text("")
    (app,) = read(
        folder, f"{COMMON}\n  resourcesPaths: [./mine, ../res]\n  configFilePath: mine.yaml"
    ).apps
    assert app.resources == (str(folder / "a" / "mine"), str(folder / "res"))
    assert app.config == str(folder / "a" / "mine.yaml")


def test_a_runtime_path_of_its_own(folder: Path) -> None:
    (folder / "rt").mkdir()
    (folder / "a" / "rt").mkdir()
    text = "version: 1\ncommon: {runtimePath: rt}\napps:\n- appDirPath: a\n  runtimePath: rt\n"
    one, two = read(folder, f"{text}- appDirPath: b").apps
    assert one.runtime_path == str(folder / "a" / "rt")
    assert one.resources == (str(folder / "a" / "rt" / ".dapr" / "components"),)
    assert two.runtime_path == str(folder / "rt")


def test_the_home_directory_is_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    (app,) = read(folder / "b", "version: 1\napps:\n- appDirPath: ~/a").apps
    assert app.app_dir == folder / "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is no valid YAML"),
        ("- a", "must hold a mapping"),
        ("", "must hold a mapping"),
        ("apps: []", "'version' is required"),
        ("version: 0", "'version' is required"),
        ("version: 0x0\napps: [{appDirPath: a}]", "'version' is required"),
        ("version: one\napps: [{appDirPath: a}]", "version must be a whole number"),
        ("version: 1", "'apps' must list at least one application"),
        ("version: 1\napps: []", "'apps' must list at least one application"),
        ("version: 1\napps: [x]", r"apps\[0\] must be a mapping"),
        ("version: 1\napps: [{appID: x}]", r"apps\[0\]: 'appDirPath' is required"),
        ("version: 1\napps: [{appDirPath: no}]", r"apps\[0\]: appDirPath .*/no does not exist"),
        ("version: 1\napps: [{appDirPath: a, appPort: x}]", "app a: appPort must be a whole"),
        ("version: 1\napps: [{appDirPath: a, appPort: true}]", "app a: appPort must be a whole"),
        ("version: 1\napps: [{appDirPath: a, appSSL: x}]", "app a: appSSL must be true or false"),
        ("version: 1\napps: [{appDirPath: a, logLevel: [x]}]", "app a: logLevel must be text"),
        ("version: 1\napps: [{appDirPath: a, command: x y}]", "app a: command must be a list"),
        ("version: 1\napps: [{appDirPath: a, env: x}]", "app a: env must be a mapping"),
        ("version: 1\ncommon: x\napps: [{appDirPath: a}]", "common must be a mapping"),
        ("version: 1\napps: [{appDirPath: [a]}]", r"apps\[0\]: appDirPath must be text"),
        (
            "version: 1\napps: [{appDirPath: a, appID: {}}, {appDirPath: b, appID: [x]}]",
            "appID must",
        ),
        ("version: 1\nname: [x]\napps: [{appDirPath: a}]", "name must be text"),
        (
            "version: 1\napps: [{appDirPath: a, resourcesPaths: [[x]]}]",
            "resourcesPaths must be text",
        ),
        ("version: 1\napps: [{appDirPath: a, configFilePath: {x: y}}]", "configFilePath must be"),
        ("version: 1\napps: [{appDirPath: a, unixDomainSocket: [x]}]", "unixDomainSocket must be"),
        ("version: 1\napps: [{appDirPath: ~nobody-here/x}]", "~nobody-here/x does not exist"),
        (
            f"version: 1\napps: [{{appDirPath: {'x' * 300}}}]",
            "cannot be a path: File name too long",
        ),
        ('version: 1\napps: [{appDirPath: "\\0"}]', "cannot be a path: embedded null byte"),
        ("version: 1\napps: [{appDirPath: a, appPort: !!timestamp 5x}]", "appPort must be a whole"),
        (
            "version: 1\napps: [{appDirPath: a, resourcesPaths: [no]}]",
            "app a: resourcesPaths .*/a/no does not exist",
        ),
        (
            "version: 1\ncommon: {configFilePath: no}\napps: [{appDirPath: a}]",
            "common: configFilePath .*/no does not exist",
        ),
        (
            "version: 1\napps: [{appDirPath: a, appLogDestination: disk}]",
            "app a: appLogDestination must be one of console, file, fileAndConsole",
        ),
        (
            "version: 1\napps: [{appDirPath: a, containerImagePullPolicy: always}]",
            "app a: containerImagePullPolicy must be one of Always, Never, IfNotPresent",
        ),
        (
            "version: 1\napps: [{appDirPath: a, createService: maybe}]",
            "app a: createService must be true or false",
        ),
        (
            "version: 1\napps: [{appDirPath: a}, {appDirPath: b, appID: a}]",
            "the appID a is used more than once",
        ),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str, folder: Path) -> None:
    with pytest.raises(CliError, match=message) as raised:
        read(folder, text)
    assert str(folder / "dapr.yaml") in raised.value.message


def test_unknown_keys_are_warned_of(folder: Path) -> None:
    file = read(folder, "version: 1\nx: 1\napps:\n- appDirPath: a\n  appport: 1\n")
    assert [warning.partition(": ")[2] for warning in file.warnings] == [
        "unknown key 'x'",
        "app a: unknown key 'appport', did you mean 'appPort'?",
    ]


def test_a_directory_stands_for_its_file(folder: Path) -> None:
    with pytest.raises(CliError, match=r"dapr\.yaml does not exist"):
        run_file_path(str(folder))
    (folder / "dapr.yaml").write_text("")
    assert run_file_path(str(folder)) == folder / "dapr.yaml"


def test_standard_input_has_no_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    file = parse("version: 1\napps: [{appDirPath: a}]", None)
    assert file.path == ""
    assert file.apps[0].app_dir == folder / "a"


def test_settings_may_be_shared_by_merge_keys(folder: Path) -> None:
    file = read(
        folder,
        "version: 1\nx-all: &all {appPort: 0x50, logLevel: warn}\napps:\n"
        "- {<<: *all, appDirPath: a}\n- {<<: *all, appDirPath: b, logLevel: error}\n",
    )
    assert [(app.app_port, app.log_level) for app in file.apps] == [(80, "warn"), (80, "error")]
    assert file.warnings == (f"{folder / 'dapr.yaml'}: unknown key 'x-all'",)


def test_the_home_of_a_user_nobody_knows_is_no_place() -> None:
    with pytest.raises(CliError, match=r"~nobody-here/dapr\.yaml does not exist"):
        run_file_path("~nobody-here/dapr.yaml")
