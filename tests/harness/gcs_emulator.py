"""A Google Cloud Storage of others' making: the Go program ``fake-gcs-server``.

It is taken from the path, or from the backends' cache; it is built there, which takes minutes, when
``DAPR_TEST_HEAVY_BACKENDS`` is set. Without it a test is skipped.
"""

from __future__ import annotations

import faulthandler
import fcntl
import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from harness.programs import Program, accepts_connections, free_port

_MODULE = "github.com/fsouza/fake-gcs-server@v1.56.1"
_NAME = "fake-gcs-server"
_BUILD_SECONDS = 1800
_BUILT = Path(os.environ.get("BACKENDS_CACHE", "~/.cache/backends")).expanduser() / _NAME


class GcsEmulator(Program):
    """Keeps objects in memory, at ``url``. Skips the test when the program cannot be had."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        place = ("-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port))
        command = [_program(), *place, "-backend", "memory", "-external-url", self.url]
        super().__init__(command, name=_NAME, exit_code=None)

    def is_ready(self) -> bool:
        return accepts_connections(self.port)

    def make_bucket(self, name: str) -> None:
        request = urllib.request.Request(
            f"{self.url}/storage/v1/b?project=p",
            json.dumps({"name": name}).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=20).close()


def _program() -> str:
    built = _BUILT / _NAME
    if found := shutil.which(_NAME) or (str(built) if built.is_file() else ""):
        return found
    if not os.environ.get("DAPR_TEST_HEAVY_BACKENDS"):
        pytest.skip(f"{_NAME} takes minutes to build: set DAPR_TEST_HEAVY_BACKENDS to have it")
    if not shutil.which("go"):
        pytest.skip(f"{_NAME}: go is not installed")
    _build()
    if not built.is_file():
        pytest.skip(f"{_NAME} could not be built")
    return str(built)


def _build() -> None:
    # This takes minutes: the watch over tests that block must not end the run.
    faulthandler.cancel_dump_traceback_later()
    _BUILT.mkdir(parents=True, exist_ok=True)
    with (_BUILT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (_BUILT / _NAME).is_file():
            subprocess.run(
                ["go", "install", _MODULE],
                env={**os.environ, "GOBIN": str(_BUILT)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_BUILD_SECONDS,
                check=False,
            )
