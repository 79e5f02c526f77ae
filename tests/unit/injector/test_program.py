"""The command line of the program, up to where it would run."""

from __future__ import annotations

import pytest

from dapr_injector.__main__ import main

ENVIRONMENT = {"NAMESPACE": "dapr-system", "SIDECAR_IMAGE": "example/daprd:1"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK", raising=False)
    return monkeypatch


def test_root_is_refused(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setattr("os.getuid", lambda: 0)
    assert main([]) == 1
    assert "injector does not run as root in Kubernetes" in capsys.readouterr().out


def test_what_is_missing_is_named(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setattr("os.getuid", lambda: 1000)
    environment.delenv("SIDECAR_IMAGE")
    assert main([]) == 1
    assert "SIDECAR_IMAGE is not set" in capsys.readouterr().out


def test_an_unknown_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--prot=1"]) == 2
    assert "unknown flag: --prot" in capsys.readouterr().err


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "--scheduler-enabled" in capsys.readouterr().out


def test_a_cluster_that_cannot_be_logged_in_to(
    environment: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    environment.setattr("os.getuid", lambda: 1000)
    environment.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    flags = ["--kubeconfig=/nonexistent", "--healthz-port=0", "--metrics-port=0"]
    assert main([*flags, "--healthz-listen-address=127.0.0.1"]) == 1
    assert "kubeconfig /nonexistent cannot be read" in capfd.readouterr().out
