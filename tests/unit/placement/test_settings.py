"""Flags and environment."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from dapr_common.flags import FlagError, parse, usage
from dapr_placement.flag_table import FLAGS
from dapr_placement.lock_address import LockAddress
from dapr_placement.settings import Settings, read

FACTS = Path(__file__).parents[4] / "shared" / "reference" / "flags.json"
CLUSTER = "--initial-cluster=p1=10.0.0.1:8201,p2=10.0.0.2:8201,p3=10.0.0.3:8201"


def settings(*arguments: str, **environment: str) -> Settings:
    return read(parse(FLAGS, arguments), environment)


def test_defaults() -> None:
    found = settings()
    assert (found.port, found.listen_address, found.node_id) == (50005, "", "dapr-placement-0")
    assert (found.keepalive_time, found.keepalive_timeout) == (
        timedelta(seconds=2),
        timedelta(seconds=3),
    )
    assert found.rules.timeout == timedelta(seconds=8)
    assert found.rules.window == timedelta(0)
    assert found.rules.replication_factor == 100
    assert (found.tls, found.lock, found.exit_when_idle) == (None, None, None)
    assert not found.kubernetes
    assert not found.shows_state


def test_every_flag_of_daprs_is_there_with_its_default() -> None:
    if not FACTS.exists():
        pytest.skip(f"not here: {FACTS}")
    ours = {flag.name: flag for flag in FLAGS}
    for fact in json.loads(FACTS.read_text())["programs"]["placement"]["flags"]:
        flag = ours[fact["name"]]
        assert flag.kind == fact["type"], fact
        assert flag.hidden == bool(fact.get("hidden")), fact
        default = flag.default
        if isinstance(default, timedelta):
            default = f"{default.total_seconds():g}s"
        if fact["name"] != "sentry-address":  # made of NAMESPACE, later
            assert default == fact["default"], fact


@pytest.mark.parametrize("spelling", [["--port", "1"], ["--port=1"], ["-port", "1"], ["-port=1"]])
def test_spellings(spelling: list[str]) -> None:
    assert settings(*spelling).port == 1


def test_what_has_no_effect_says_so() -> None:
    text = usage("dapr-placement", "", FLAGS)
    for name in ("inmem-store-enabled", "raft-logstore-path"):
        (line,) = [line for line in text.splitlines() if f"--{name}" in line]
        assert "without effect" in line


@pytest.mark.parametrize(
    ("word", "shown"), [("true", True), ("YES", True), ("0", False), ("", False)]
)
def test_the_state_page_by_environment(word: str, shown: bool) -> None:
    assert settings(DAPR_PLACEMENT_METADATA_ENABLED=word).shows_state is shown
    assert not settings("--metadata-enabled=false", DAPR_PLACEMENT_METADATA_ENABLED="y").shows_state
    assert settings("--metadata-enabled", DAPR_PLACEMENT_METADATA_ENABLED=word).shows_state


def test_several_servers_need_something_that_decides() -> None:
    with pytest.raises(FlagError, match=r"names 3 servers, and nothing decides .*--leader-lock"):
        settings("--id=p1", CLUSTER)
    lock = "--leader-lock=consul://10.0.0.9/dapr/placement"
    found = settings("--id=p1", CLUSTER, lock).lock
    assert found is not None
    assert found.address == LockAddress("consul", False, (("10.0.0.9", 8500),), "dapr/placement")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("consul://h:1/k", LockAddress("consul", False, (("h", 1),), "k")),
        ("consuls://h:1/k", LockAddress("consul", True, (("h", 1),), "k")),
        ("etcd://a,b:7/k/l", LockAddress("etcd", False, (("a", 2379), ("b", 7)), "k/l")),
        ("etcds://[::1]:7/k", LockAddress("etcd", True, (("::1", 7),), "k")),
    ],
)
def test_addresses_of_locks(text: str, address: LockAddress) -> None:
    found = settings(f"--leader-lock={text}").lock
    assert found is not None
    assert found.address == address


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--mode=k8s"], "--mode"),
        (["--keepalive-time=500ms"], "--keepalive-time"),
        (["--keepalive-timeout=11s"], "--keepalive-timeout"),
        (["--disseminate-timeout=0"], "--disseminate-timeout"),
        (["--disseminate-coalesce-window=-1s"], "--disseminate-coalesce-window"),
        (["--replicationFactor=0"], "--replicationFactor"),
        (["--initial-cluster=p1=h:1"], "does not name this server: --id dapr-placement-0"),
        (["--initial-cluster=h:1"], "use id=host:port"),
        (["--leader-lock=zookeeper://h/k"], "consul://"),
        (["--leader-lock=consul://h"], "host:port/key"),
        (["--leader-lock=consul://h:0/k"], "expected host:port"),
        (["--leader-lock=consul://h:x/k"], "expected host:port"),
        (["--leader-lock=etcd://user:hunter2@h/k"], "do not belong"),
        (["--leader-lock-token-file=f"], "needs --leader-lock"),
        (["--leader-lock=consuls://h/k", "--leader-lock-cert-file=f"], "need each other"),
        (["--port=70000"], "--port"),
    ],
)
def test_what_cannot_be(arguments: list[str], words: str) -> None:
    with pytest.raises(FlagError, match=words) as caught:
        settings(*arguments)
    assert "hunter2" not in str(caught.value)


def test_tls() -> None:
    found = settings("--tls-enabled", "--trust-domain=cluster.local", "--sentry-address=s:1").tls
    assert found is not None
    assert (found.trust_domain, found.sentry_address) == ("cluster.local", "s:1")
