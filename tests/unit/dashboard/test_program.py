"""The program: what its image has to hold, and what its flags say."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dapr_common.flags import parse
from dapr_dashboard import settings


def test_it_needs_no_other_program() -> None:
    """Its image has none, but for the CLI's code."""
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['grpc', 'dapr_sidecar']));"
        "import dapr_dashboard.__main__, dapr_dashboard.runtime, dapr_dashboard.sources.cluster,"
        "dapr_cli.kube.kubeconfig; print('whole')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("whole\n", "")


def test_on_a_laptop_it_opens_two_ports_of_the_loopback() -> None:
    found = settings.read(parse(settings.FLAGS, []), {})
    assert (found.address, found.port, found.zipkin_port) == ("localhost", 8080, 9411)
    assert not found.service.metrics_enabled
    assert found.service.healthz_port == 0
    assert not found.is_in_cluster


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_what_is_only_printed(argument: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dapr_dashboard", argument],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
