"""How the process starts, refuses to start, and ends: exit codes and the line that says why."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit, prlimit, setrlimit
from typing import Any

import pytest
from harness.http_call import call
from harness.programs import Program, free_port
from harness.sidecar import Sidecar, component, daprd_command, resource


def run(*arguments: str, **environment: str) -> Program:
    """A daprd that ends by itself."""
    program = Program([*daprd_command(), *arguments], env=environment)
    program.start()
    return program


def refused(*arguments: str, **named: Any) -> str:
    """The log of a sidecar that must end with exit code 1."""
    sidecar = Sidecar(flags=arguments, ready="", exit_code=1, **named)
    sidecar.start()
    try:
        assert sidecar.wait_exit(60) == 1, sidecar.log
    finally:
        sidecar.stop()
    assert "Traceback" not in sidecar.log
    fatal = [line for line in sidecar.lines if "level=fatal" in line]
    assert len(fatal) == 1, sidecar.log
    return fatal[0]


def test_version_build_info_help() -> None:
    for arguments, text in (
        (["--version"], "1.18.3"),
        (["-build-info"], "Version: 1.18.3"),
        (["--help"], "--dapr-http-port string"),
    ):
        program = run(*arguments)
        assert program.wait_exit() == 0
        assert text in program.log


def test_it_takes_as_many_open_files_as_it_may() -> None:
    before = getrlimit(RLIMIT_NOFILE)
    setrlimit(RLIMIT_NOFILE, (1024, before[1]))  # what shells and systemd start programs with
    try:
        with Sidecar("files") as sidecar:
            most = prlimit(sidecar.process.pid, RLIMIT_NOFILE)
    finally:
        setrlimit(RLIMIT_NOFILE, before)
    assert most == (before[1], before[1])


def test_a_wrong_command_line_is_exit_code_2() -> None:
    program = run("--app-id", "a", "--nope")
    assert program.wait_exit() == 2
    assert "unknown flag: --nope" in program.log


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--app-id="], "app-id cannot be empty"),
        (["--enable-mtls"], "trust anchors are required: set DAPR_TRUST_ANCHORS"),
        (["--mode=kubernetes"], "--mode kubernetes needs the operator's host:port"),
        (["--log-file=/dev/null/at/all"], "cannot be written: Not a directory"),
        (["--config=/proc/nowhere.yaml"], "configuration: /proc/nowhere.yaml: No such file"),
        (["--resources-path=/proc/nowhere"], "/proc/nowhere: no such file or directory"),
        (["--resources-path=/dev/null"], "/dev/null: not a directory"),
        (["--unix-domain-socket=/proc/nowhere"], "could not listen on /proc/nowhere/dapr-"),
    ],
)
def test_flags_that_cannot_be_used(arguments: list[str], text: str) -> None:
    assert text in refused(*arguments)


def test_addresses_without_effect_do_not_keep_it_from_starting() -> None:
    flags = [
        "--sentry-address=127.0.0.1:1",
        "--enable-profiling",
    ]
    with Sidecar(flags=flags) as sidecar:
        assert call(sidecar.http_port, "GET", "/v1.0/healthz").status == 204


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"features": 5}, "spec.features must be a list"),
        ({"accessControl": {"policies": [{"appId": "b", "operations": 1}]}}, "must be a list"),
        (
            {"tracing": {"samplingRate": "1", "zipkin": 5}},
            "spec.tracing.zipkin must be a mapping",
        ),
    ],
)
def test_configurations_that_cannot_be_used(config: Mapping[str, Any], text: str) -> None:
    assert text in refused(config=config)


INIT = "[INIT_COMPONENT_FAILURE]: initialization error occurred for c ("


@pytest.mark.parametrize(
    ("kind", "metadata", "text"),
    [
        ("state.nope", {}, INIT + "state.nope/v1): couldn't find state store state.nope/v1"),
        ("pubsub.nope", {}, INIT + "pubsub.nope/v1): couldn't find message bus pubsub.nope/v1"),
        ("thing.nope", {}, INIT + "thing.nope/v1): incorrect type thing.nope"),
        ("nameresolution.mdns", {}, INIT + "nameresolution.mdns/v1): incorrect type"),
        ("state.sqlite", {"connectionString": "/dev/null/db"}, INIT + "state.sqlite/v1)"),
        ("state.in-memory", {"keyPrefix": "{podName}"}, "podName is not set"),
        ("bindings.cron", {"schedule": "now and then"}, INIT + "bindings.cron/v1)"),
        (
            "secretstores.local.file",
            {"secretsFile": "/proc/nowhere"},
            INIT + "secretstores.local.file",
        ),
    ],
)
def test_components_that_cannot_be_used(kind: str, metadata: dict[str, str], text: str) -> None:
    line = refused(resources=[component("c", kind, **metadata)])
    assert "Fatal error from runtime: process component c error: " in line
    assert text in line


def test_duplicates_are_fatal() -> None:
    line = refused(resources=[component("c", "state.in-memory"), component("c", "lock.redis")])
    assert "duplicate definition of Component name c (lock.redis/v1)" in line
    assert "with existing c (state.in-memory/v1)" in line


def test_a_component_that_hangs_is_given_up_after_its_init_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        slow = component(
            "c", "state.redis", redisHost=f"127.0.0.1:{silent.getsockname()[1]}", redisMaxRetries=0
        )
        slow["spec"]["initTimeout"] = "300ms"
        # Redis' own patience would be told in other words.
        assert "init timeout for component exceeded after 0.3s" in refused(resources=[slow])
        slow["spec"]["ignoreErrors"] = True
        with Sidecar(resources=[slow, component("ok", "state.in-memory")]) as sidecar:
            names = [
                c["name"]
                for c in call(sidecar.http_port, "GET", "/v1.0/metadata").json["components"]
            ]
            assert names == ["ok"]
            sidecar.wait_line("Failed to init component c (state.redis/v1)")


def test_sigterm_ends_a_start_that_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        slow = component("c", "state.redis", redisHost=f"127.0.0.1:{silent.getsockname()[1]}")
        slow["spec"]["initTimeout"] = "1h"
        with Sidecar(resources=[slow], ready="") as sidecar:
            sidecar.wait_line("Loading component: c")
        assert "Daprd shutdown gracefully" in sidecar.log


def test_sigterm_ends_the_wait_for_an_app_that_never_comes() -> None:
    with Sidecar(app_port=free_port(), ready="healthz/outbound") as sidecar:
        answer = call(sidecar.http_port, "GET", "/v1.0/healthz")
        assert (answer.status, answer.code) == (500, "ERR_HEALTH_NOT_READY")
        assert call(sidecar.http_port, "GET", "/v1.0/healthz/outbound").status == 204


@pytest.mark.parametrize("flag", ["dapr-http-port", "metrics-port"])
def test_a_port_in_use_is_said_after_some_patience(flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(f"--{flag}={port}", "--metrics-listen-address=127.0.0.1")
        assert f"127.0.0.1:{port}: Address already in use" in line


def test_a_port_that_gets_free_in_time_is_taken() -> None:
    port = free_port()  # none that the system gives to somebody else at once
    taken = socket.create_server(("127.0.0.1", port))
    with Sidecar(flags=[f"--dapr-grpc-port={port}"], ready="") as sidecar:
        time.sleep(1)  # daprd is trying by now; there is nothing to see of it
        taken.close()
        sidecar.wait_line("dapr initialized. Status: Running")
        socket.create_connection(("127.0.0.1", port), 5).close()


def test_wait_follows_a_sidecar() -> None:
    port = free_port()
    waiting = run("--wait", "--dapr-http-port", str(port))
    with Sidecar(flags=[f"--dapr-http-port={port}"], ready="") as sidecar:
        assert waiting.wait_exit(60) == 0
        sidecar.wait_line("dapr initialized")


def test_resources_are_filtered_and_filled_in(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text('{"word": {"deep": "hidden"}}')
    store = component("vault", "secretstores.local.file", secretsFile=tmp_path / "secrets.json")
    parked = component("parked", "state.in-memory")
    parked["spec"]["metadata"] = [{"name": "k", "secretKeyRef": {"name": "a", "key": "b"}}]
    parked["auth"] = {"secretStore": "never"}
    secret = component("late", "bindings.http")
    secret["spec"]["metadata"] = [
        {"name": "url", "secretKeyRef": {"name": "word:deep", "key": "word:deep"}}
    ]
    secret["auth"] = {"secretStore": "vault"}
    foreign = component("foreign", "state.in-memory")
    foreign["scopes"] = ["another"]
    elsewhere = component("elsewhere", "state.in-memory")
    elsewhere["metadata"]["namespace"] = "n2"
    denied = component("denied", "lock.redis", redisHost="127.0.0.1:1")
    variable = component("variable", "state.in-memory")
    variable["spec"]["metadata"] = [{"name": "keyPrefix", "envRef": "MY_PREFIX"}]
    resources = [secret, parked, foreign, elsewhere, denied, variable, store]
    with Sidecar(
        "me",
        resources=resources,
        config={"components": {"deny": ["lock.redis/v1"]}},
        env={"NAMESPACE": "n1", "MY_PREFIX": "name"},
    ) as sidecar:
        metadata = call(sidecar.http_port, "GET", "/v1.0/metadata").json
        assert sorted(c["name"] for c in metadata["components"]) == ["late", "variable", "vault"]
        sidecar.wait_line("component parked (state.in-memory/v1) is not loaded")
        # the binding's URL is the secret's text, so it is no URL
        answer = call(sidecar.http_port, "POST", "/v1.0/bindings/late", {"operation": "get"})
        assert answer.status == 500
        assert answer.code == "ERR_INVOKE_OUTPUT_BINDING"


def test_components_can_read_what_the_sidecar_is_from_the_environment() -> None:
    resources = [component("env", "secretstores.local.env")]
    with Sidecar("me", resources=resources) as sidecar:
        for name, value in (("APP_ID", "me"), ("HOST_ADDRESS", "127.0.0.1"), ("APP_PORT", "")):
            found = call(sidecar.http_port, "GET", f"/v1.0/secrets/env/{name}")
            assert found.json == {name: value}
        hidden = call(sidecar.http_port, "GET", "/v1.0/secrets/env/DAPR_HTTP_PORT")
        assert hidden.json == {"DAPR_HTTP_PORT": ""}


def test_files_that_are_wrong_do_not_keep_the_others_from_loading() -> None:
    sidecar = Sidecar(resources=[component("good", "state.in-memory")], ready="healthz")
    folder = sidecar.resources_path
    bomb = 'a: &a ["x"]\n' + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
        for name, before in zip("bcdefghij", "abcdefghi", strict=True)
    )
    head = "apiVersion: dapr.io/v1alpha1\nkind: Component\n"
    (folder / "bomb.yaml").write_text(
        f"{bomb}{head}metadata: {{name: bomb}}\nspec: {{type: state.in-memory, metadata: "
        "[{name: v, value: *j}]}\n"
    )
    (folder / "broken.yaml").write_text("kind: [\n")
    (folder / "mistyped.yaml").write_text(f"{head}metadata: {{name: m}}\nspec: {{metadata: 5}}\n")
    (folder / "readme.md").write_text("# what is here")
    (folder / "huge.yaml").write_text(
        f"{head}metadata: {{name: huge}}\nspec:\n  type: state.in-memory\n  metadata:\n"
        + "".join(f"  - {{name: n{number}, value: {'v' * 60}}}\n" for number in range(5000))
    )
    with sidecar:
        metadata = call(sidecar.http_port, "GET", "/v1.0/metadata").json
        assert sorted(c["name"] for c in metadata["components"]) == ["good", "huge"]
        for text in (
            "bomb.yaml (document 1)",
            "broken.yaml (document 1)",
            "mistyped.yaml",
            "A non-YAML Component file readme.md was detected, it will not be loaded",
        ):
            assert any("level=warning" in line and text in line for line in sidecar.lines), text


def test_what_a_resiliency_or_endpoint_has_wrong_is_said_and_left_out() -> None:
    resources = [
        resource("Resiliency", "bad", {"policies": {"timeouts": {"t": "soon"}}}),
        resource(
            "HTTPEndpoint",
            "pod",
            {"baseUrl": "http://x", "headers": [{"name": "a", "value": "{podName}"}]},
        ),
    ]
    with Sidecar(resources=resources) as sidecar:
        sidecar.wait_line("Could not load resiliency policy bad")
        sidecar.wait_line("HTTPEndpoint pod is not used")


def test_the_resources_directory_may_go_away() -> None:
    with Sidecar() as sidecar:
        shutil.rmtree(sidecar.resources_path)
        assert call(sidecar.http_port, "GET", "/v1.0/healthz").status == 204
