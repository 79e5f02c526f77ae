"""Flags and environment."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dapr_common.flags import FlagError, parse
from dapr_operator.flag_table import FLAGS
from dapr_operator.settings import Settings, WatchdogSettings, read

ENVIRONMENT = {"NAMESPACE": "dapr-system"}


def settings(*arguments: str, **environment: str) -> Settings:
    return read(parse(FLAGS, arguments), ENVIRONMENT | environment)


def test_defaults() -> None:
    found = settings()
    assert (found.namespace, found.config, found.watch_namespace) == (
        "dapr-system",
        "daprsystem",
        "",
    )
    assert (found.port, found.service.healthz_port, found.service.metrics_port) == (
        6500,
        8080,
        9090,
    )
    assert str(found.trust_anchors_file) == "/var/run/secrets/dapr.io/tls/ca.crt"
    assert found.leader_election
    assert found.service_reconciler
    assert not found.argo_rollouts
    assert found.webhook is not None
    assert found.webhook.port == 19443
    assert found.watchdog == WatchdogSettings(
        interval=timedelta(seconds=10), restarts_per_minute=20, may_label=False
    ), "missed pods are healed unless that is turned off"


@pytest.mark.parametrize("text", ["0", "false", "f", "no", "off", "OFF"])
def test_watchdog_off(text: str) -> None:
    assert settings(f"--watch-interval={text}").watchdog is None


@pytest.mark.parametrize(("text", "interval"), [("once", None), ("2m", timedelta(minutes=2))])
def test_watchdog_interval(text: str, interval: Any) -> None:
    watchdog = settings("--watch-interval", text).watchdog
    assert watchdog is not None
    assert watchdog.interval == interval


@pytest.mark.parametrize("text", ["999ms", "often", "-1s", "1"])
def test_intervals_that_cannot_be(text: str) -> None:
    with pytest.raises(FlagError, match="--watch-interval"):
        settings(f"--watch-interval={text}")


def test_no_namespace() -> None:
    with pytest.raises(FlagError, match="NAMESPACE"):
        settings(NAMESPACE="")


@pytest.mark.parametrize("text", ["false", "FALSE"])
def test_webhooks_off(text: str) -> None:
    assert settings(ENABLE_WEBHOOKS=text).webhook is None


def test_root_in_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 0)
    with pytest.raises(FlagError, match="root"):
        settings(KUBERNETES_SERVICE_HOST="10.0.0.1")
    assert settings(
        KUBERNETES_SERVICE_HOST="10.0.0.1", DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK="true"
    ).in_cluster
