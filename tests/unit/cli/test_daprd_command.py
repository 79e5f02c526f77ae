"""The command line of ``daprd`` and the app's environment, from settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dapr_cli.daprd_command import (
    app_environment,
    check_resources,
    daprd_command,
    host_environment,
    wants_mtls,
)
from dapr_cli.errors import CliError
from dapr_cli.settings import RunSettings
from dapr_common.aio.host import NoHostAddressError

SETTINGS = RunSettings(
    app_id="a",
    command=("python", "app.py"),
    resources=("/r1", "/r2"),
    http_port=3500,
    grpc_port=50001,
    internal_grpc_port=50002,
    metrics_port=9090,
)


def test_the_words_and_their_order() -> None:
    assert daprd_command(Path("/bin/daprd"), SETTINGS) == [
        "/bin/daprd",
        *("--app-protocol", "http"),
        *("--log-level", "info"),
        *("--app-max-concurrency", "-1"),
        *("--placement-host-address", "localhost:50005"),
        *("--resources-path", "/r1", "--resources-path", "/r2"),
        *("--max-body-size", "4Mi"),
        *("--read-buffer-size", "4Ki"),
        *("--scheduler-host-address", "localhost:50006"),
        *("--app-id", "a"),
        *("--app-port", "0"),
        *("--dapr-http-port", "3500"),
        *("--dapr-grpc-port", "50001"),
        *("--profile-port", "-1"),
        *("--metrics-port", "9090"),
        *("--dapr-internal-grpc-port", "50002"),
    ]


def test_everything_given(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("spec: {mtls: {enabled: true}}")
    words = daprd_command(
        Path("daprd"),
        replace(
            SETTINGS,
            config=str(config),
            listen_addresses="127.0.0.1",
            enable_profiling=True,
            app_ssl=True,
            enable_app_health_check=True,
            app_health_check_path="/h",
            app_health_probe_interval=2,
            app_health_probe_timeout=300,
            app_health_threshold=4,
            enable_api_logging=True,
            app_channel_address="10.0.0.1",
            unix_domain_socket="/tmp/s",
            placement_host_address="p:1",
            scheduler_host_address="",
            resources=(),
            log_as_json=True,
        ),
    )
    text = " ".join(words)
    assert text.startswith(f"daprd --config {config} --app-protocol http --dapr-listen-addresses")
    assert "--enable-profiling --log-level info" in text
    assert "--placement-host-address p:1 --app-ssl --max-body-size" in text
    assert "--read-buffer-size 4Ki --enable-app-health-check --app-health-check-path /h" in text
    assert (
        "--app-health-probe-interval 2 --app-health-probe-timeout 300 --app-health-threshold 4 "
        "--enable-api-logging --app-id a --app-channel-address 10.0.0.1 --app-port 0" in text
    )
    assert "--unix-domain-socket /tmp/s --dapr-internal-grpc-port 50002" in text
    assert text.endswith("--log-as-json --enable-mtls --sentry-address localhost:50001")
    assert "scheduler" not in text
    assert "resources" not in text


def test_the_apps_environment() -> None:
    env = app_environment(replace(SETTINGS, app_port=8000, env={"A": "b", "APP_ID": "no"}))
    assert env == {
        "A": "b",
        "APP_ID": "a",
        "APP_CHANNEL_ADDRESS": "127.0.0.1",
        "APP_PROTOCOL": "http",
        "APP_PORT": "8000",
        "DAPR_HTTP_PORT": "3500",
        "DAPR_GRPC_PORT": "50001",
        "DAPR_METRICS_PORT": "9090",
    }
    assert "APP_PORT" not in app_environment(SETTINGS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("spec: {mtls: {enabled: true}}", True),
        ("spec: {mtls: {enabled: false}}", False),
        ("spec: {}", False),
        ("spec:", False),
        ("", False),
        ("- a", False),
    ],
)
def test_mtls_of_a_configuration(text: str, expected: bool, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert wants_mtls(file) is expected


def test_a_configuration_that_cannot_be_parsed_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("a: [")
    with pytest.raises(CliError, match=f"{file} .*cannot be parsed"):
        wants_mtls(file)
    with pytest.raises(CliError, match="cannot be read"):
        wants_mtls(tmp_path / "absent.yaml")


GOOD = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: a}\nspec: {type: x.y}\n"


def test_resources_that_are_fine(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"{GOOD}---\nkind: Other\n")
    (tmp_path / "notes.txt").write_text("a: [")
    (tmp_path / "folder.yaml").mkdir()
    check_resources(tmp_path)


@pytest.mark.parametrize(
    "text", ["a: [", GOOD.replace("{type: x.y}", "[]"), GOOD.replace("name: a", "name: ..")]
)
def test_resources_that_are_not(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yml").write_text(text)
    with pytest.raises(CliError, match=r"b\.yml: the resource is not valid"):
        check_resources(tmp_path)
    with pytest.raises(CliError, match="is not a directory"):
        check_resources(tmp_path / "absent")


def test_apps_of_a_machine_without_a_network_are_found_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(_: object) -> str:
        raise NoHostAddressError("could not determine host IP address: set DAPR_HOST_IP")

    assert host_environment({"DAPR_HOST_IP": "10.0.0.1"}) == {}, "what is set stays"
    monkeypatch.setattr("dapr_cli.daprd_command.host_address", nothing)
    assert host_environment({}) == {"DAPR_HOST_IP": "127.0.0.1"}
