"""``dapr init`` and ``dapr uninstall``: what is on disk, what is said."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.redis_server import is_available, redis_server

from dapr_cli import launcher
from dapr_common.kube.manifests import parse_documents, typed
from dapr_common.kube.resources import Component

COMPONENTS = ("pubsub.yaml", "secretstore.yaml", "statestore.yaml")


@pytest.fixture(autouse=True)
def no_zipkin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dapr_cli.manifests.ZIPKIN", ("127.0.0.1", 1))


def tree(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def read(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text())


def component(file: Path) -> Component:
    found = [typed(document) for document in parse_documents(file.read_text(), file.name)]
    assert len(found) == 1
    assert isinstance(found[0], Component)
    return found[0]


def settings(file: Path) -> dict[str, str | None]:
    return {entry.name: entry.value for entry in component(file).metadata}


def test_embedded_is_the_default(dapr, home: Path) -> None:
    outcome = dapr("init")
    root = home / ".dapr"
    assert outcome.code == 0
    assert outcome.err == ""
    assert tree(root) == [
        "bin/daprd",
        "bin/placement",
        *(f"components/{name}" for name in COMPONENTS),
        "config.yaml",
        "secrets.json",
    ]
    state = root / "components" / "statestore.yaml"
    assert component(state).type == "state.sqlite"
    assert settings(state) == {
        "connectionString": str(root / "data" / "state.db"),
        "actorStateStore": "true",
    }
    broker = root / "components" / "pubsub.yaml"
    assert component(broker).type == "pubsub.sqlite"
    assert settings(broker) == {"connectionString": str(root / "data" / "pubsub.db")}
    secret = root / "components" / "secretstore.yaml"
    assert component(secret).type == "secretstores.local.file"
    assert settings(secret) == {"secretsFile": str(root / "secrets.json")}
    assert read(root / "config.yaml") == {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Configuration",
        "metadata": {"name": "daprConfig"},
        "spec": {},
    }
    assert (root / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert state.stat().st_mode & 0o777 == 0o644
    assert (root / "data").is_dir()


def test_it_says_what_it_did(dapr, home: Path) -> None:
    assert dapr("init").out.splitlines() == [
        f"⌛  Setting Dapr up in {home / '.dapr'}",
        "✅  bin/daprd written",
        "✅  bin/placement written",
        "✅  config.yaml written",
        "✅  components/statestore.yaml written (state.sqlite)",
        "✅  components/pubsub.yaml written (pubsub.sqlite)",
        "✅  components/secretstore.yaml written (secretstores.local.file)",
        "✅  Dapr runtime 1.18.3 is set up",
        "ℹ️  Next: dapr run --app-id myapp --app-port 8000 -- python app.py",  # noqa: RUF001 - the sign
    ]


def test_again_changes_nothing_and_keeps_what_was_edited(dapr, home: Path) -> None:
    dapr("init")
    root = home / ".dapr"
    (root / "components" / "pubsub.yaml").write_text("# mine\n")
    (root / "config.yaml").write_text("# mine\n")
    before = {file: (root / file).read_bytes() for file in tree(root)}
    outcome = dapr("init")
    assert outcome.code == 0
    assert {file: (root / file).read_bytes() for file in tree(root)} == before
    assert "bin/daprd is up to date" in outcome.out
    assert "components/pubsub.yaml kept as it is\n" in outcome.out
    assert "components/statestore.yaml is up to date (state.sqlite)" in outcome.out
    assert "config.yaml kept as it is\n" in outcome.out


def test_slim_writes_no_components(dapr, home: Path) -> None:
    outcome = dapr("init", "--slim")
    assert outcome.code == 0
    assert tree(home / ".dapr") == ["bin/daprd", "bin/placement", "config.yaml"]
    assert (home / ".dapr" / "components").is_dir()
    assert "statestore" not in outcome.out


def test_zipkin_is_used_when_it_is_there(dapr, home: Path, monkeypatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        monkeypatch.setattr("dapr_cli.manifests.ZIPKIN", address)
        outcome = dapr("init")
    url = f"http://localhost:{address[1]}/api/v2/spans"
    tracing = read(home / ".dapr" / "config.yaml")["spec"]["tracing"]
    assert tracing == {"samplingRate": "1", "zipkin": {"endpointAddress": url}}
    assert "Zipkin answers on port 9411: every request will be traced" in outcome.out


def test_zipkin_that_came_later_is_used_unless_the_user_decided(
    dapr, home: Path, monkeypatch
) -> None:
    file = home / ".dapr" / "config.yaml"
    dapr("init")
    assert read(file)["spec"] == {}
    with monkeypatch.context() as later, socket.create_server(("127.0.0.1", 0)) as server:
        later.setattr("dapr_cli.manifests.ZIPKIN", server.getsockname())
        outcome = dapr("init")
        assert "config.yaml written\n" in outcome.out
        assert set(read(file)["spec"]) == {"tracing"}
        dapr("init", "--mtls")
        both = file.read_text()
        assert set(read(file)["spec"]) == {"tracing", "mtls"}
        assert "config.yaml is up to date" in dapr("init").out
        file.write_text(both.replace('"1"', '"0.1"'))
        outcome = dapr("init")
        assert "config.yaml kept as it is\n" in outcome.out
        assert "port 9411: config.yaml, which you changed, says what is traced" in outcome.out


@pytest.mark.skipif(not is_available(), reason="redis-server is not installed")
def test_redis_takes_the_place_of_the_embedded_ones(dapr, home: Path) -> None:
    dapr("init")
    components = home / ".dapr" / "components"
    with redis_server() as redis:
        outcome = dapr("init", "--redis", "--redis-host", redis.address)
    assert outcome.code == 0
    assert (
        "components/statestore.yaml written (state.redis), in place of (state.sqlite)"
        in outcome.out
    )
    assert component(components / "statestore.yaml").type == "state.redis"
    assert settings(components / "statestore.yaml") == {
        "redisHost": redis.address,
        "redisPassword": "",
        "actorStateStore": "true",
    }
    assert component(components / "pubsub.yaml").type == "pubsub.redis"
    assert settings(components / "pubsub.yaml") == {
        "redisHost": redis.address,
        "redisPassword": "",
    }
    outcome = dapr("init")  # without --redis, Redis stays
    assert "components/statestore.yaml kept as it is (state.redis)" in outcome.out


@pytest.mark.skipif(not is_available(), reason="redis-server is not installed")
def test_redis_that_wants_a_password_is_refused(dapr, home: Path) -> None:
    with redis_server() as redis:
        redis.call("CONFIG", "SET", "requirepass", "secret")
        outcome = dapr("init", "--redis", "--redis-host", redis.address)
    assert outcome.code == 1
    assert f"the Redis server at {redis.address} asks for a password" in outcome.err
    assert not (home / ".dapr").exists()


def test_redis_that_is_not_there_is_an_error_and_writes_nothing(dapr, home: Path) -> None:
    outcome = dapr("init", "--redis", "--redis-host", "127.0.0.1:1")
    assert outcome.code == 1
    assert "❌  no Redis server answers at 127.0.0.1:1: Connection refused\n" in outcome.err
    assert "without --redis" in outcome.err
    assert not (home / ".dapr").exists()


@pytest.mark.parametrize("address", ["localhost:x", ":6379", "localhost:0", "a:70000"])
def test_an_address_that_is_none(address: str, dapr, home: Path) -> None:
    outcome = dapr("init", "--redis", "--redis-host", address)
    assert outcome.code == 1
    assert f"'{address}' is no address of a Redis server: use host:port" in outcome.err


def test_another_program_in_the_place_of_daprd_is_left_alone(dapr, home: Path) -> None:
    daprd = home / ".dapr" / "bin" / "daprd"
    daprd.parent.mkdir(parents=True)
    daprd.write_bytes(b"\x7fELF another runtime")
    outcome = dapr("init")
    assert outcome.code == 1
    assert f"❌  {daprd} is another program" in outcome.err
    assert daprd.read_bytes() == b"\x7fELF another runtime"


def test_an_unwritable_place_is_named(dapr, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = dapr("init", "--runtime-path", str(tmp_path / "file"))
    assert outcome.code == 1
    assert "cannot be written" in outcome.err
    assert "--runtime-path DIR" in outcome.err


def test_flags_of_containers_warn(dapr, home: Path) -> None:
    outcome = dapr("init", "--slim", "--container-runtime", "podman", "--runtime-version", "1.9.0")
    assert outcome.code == 0
    assert "⚠  --container-runtime has no effect: no containers are used" in outcome.err
    assert "--runtime-version 1.9.0: this CLI brings 1.18.3 instead" in outcome.err
    assert dapr("init", "--slim", "--runtime-version", "latest").err == ""


def test_the_launcher_starts_daprd(dapr, home: Path) -> None:
    dapr("init", "--slim")
    daprd = home / ".dapr" / "bin" / "daprd"
    done = subprocess.run([daprd, "--version"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, "1.18.3\n")


def test_a_launcher_for_a_python_with_a_blank_in_its_path(tmp_path: Path) -> None:
    python = tmp_path / "a place" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    script = tmp_path / "daprd"
    script.write_text(launcher.text(str(python)))
    script.chmod(0o755)
    done = subprocess.run([script, "--app-id", "a b"], capture_output=True, text=True, timeout=30)
    assert done.stdout == f"{script} --app-id a b\n"
    compile(script.read_text(), "daprd", "exec")


def test_uninstall_takes_the_runtime_and_leaves_the_rest(dapr, home: Path) -> None:
    dapr("init")
    root = home / ".dapr"
    outcome = dapr("uninstall")
    assert outcome.code == 0
    assert f"✅  {root / 'bin'} is removed" in outcome.out
    assert not (root / "bin").exists()
    assert (root / "components" / "statestore.yaml").exists()


def test_uninstall_all_takes_everything(dapr, home: Path) -> None:
    dapr("init")
    (home / "mine").write_text("")
    outcome = dapr("uninstall", "--all")
    assert outcome.code == 0
    assert f"✅  {home / '.dapr'} is removed" in outcome.out
    assert sorted(path.name for path in home.iterdir()) == ["mine"]


def test_uninstall_of_nothing_warns(dapr, home: Path) -> None:
    outcome = dapr("uninstall", "--all")
    assert outcome.code == 0
    assert f"⚠  {home / '.dapr' / 'bin'} does not exist" in outcome.err
