"""The program: what its image has to hold, and what its flags say."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dapr_common.flags import parse
from dapr_common.program import SettingsError
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


@pytest.mark.parametrize(
    ("text", "path"), [("", ""), ("/", ""), ("/dapr/", "/dapr"), ("dapr/a_b", "/dapr/a_b")]
)
def test_the_path_of_a_proxy(text: str, path: str) -> None:
    found = settings.read(parse(settings.FLAGS, []), {"SERVER_BASE_HREF": text})
    assert found.base_path == path


@pytest.mark.parametrize("text", ["http://host/a", "/a b/", '/"/', "/a//b", "/a/../b"])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(SettingsError, match="SERVER_BASE_HREF must be a path such as /dapr"):
        settings.read(parse(settings.FLAGS, []), {"SERVER_BASE_HREF": text})


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
