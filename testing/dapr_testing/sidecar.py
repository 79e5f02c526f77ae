"""One daprd process on free ports: started, awaited, stopped; everything it writes is kept."""

from __future__ import annotations

import collections
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from dapr_testing.log_lines import readable

_LISTENS = re.compile(r"(HTTP|gRPC|metrics) server listening on TCP address: .*:(\d+)$")
_INITIALISED = "dapr initialized."
_LINES_KEPT = 10_000
_STOP_SECONDS = 10.0


class SidecarError(RuntimeError):
    """A sidecar did not start; the text ends with what it wrote."""


class Sidecar:
    """A running daprd. ``Sidecars.start`` makes it."""

    def __init__(
        self,
        app_id: str,
        flags: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        start_seconds: float = 30.0,
    ) -> None:
        """Raises ``SidecarError`` when it does not come up in time."""
        __tracebackhide__ = True
        self.app_id = app_id
        self.http_port = self.grpc_port = self.metrics_port = 0
        self._lines: collections.deque[str] = collections.deque(maxlen=_LINES_KEPT)
        self._changed = threading.Condition()
        self._initialised = False
        command = [sys.executable, "-m", "dapr_sidecar", "--app-id", app_id, "--log-as-json"]
        self._process = subprocess.Popen(  # noqa: S603 - this Python and flags, no shell
            [*command, *_ports(), *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "DAPR_HOST_IP": "127.0.0.1", **(env or {})},
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), name=f"daprd {app_id}", daemon=True
        )
        self._reader.start()
        self._wait(start_seconds)

    @property
    def http_url(self) -> str:
        """``http://host:port`` of the HTTP API."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc_address(self) -> str:
        """``host:port`` of the gRPC API."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which Dapr's SDKs, and apps started by ``dapr run``, find it."""
        return {
            "APP_ID": self.app_id,
            "DAPR_HTTP_PORT": str(self.http_port),
            "DAPR_GRPC_PORT": str(self.grpc_port),
        }

    @property
    def log(self) -> str:
        """What it has written so far: one JSON object a line."""
        return "\n".join(self._lines)

    def stop(self) -> int:
        """End it in order, by force after 10 s; gives its exit code. May be called again."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        code = self._process.wait()
        self._reader.join(_STOP_SECONDS)
        return code

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._process.kill()
        self._process.wait()

    # --- inside -----------------------------------------------------------------------------

    def _read(self, output: IO[str]) -> None:
        for line in output:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._note(line)
                self._changed.notify_all()
        output.close()
        with self._changed:
            self._changed.notify_all()

    def _note(self, line: str) -> None:
        try:
            record: Any = json.loads(line)
        except ValueError:
            return
        message = str(record.get("msg", "")) if isinstance(record, dict) else ""
        if message.startswith(_INITIALISED):
            self._initialised = True
        elif (found := _LISTENS.match(message)) is not None:
            name = {"HTTP": "http_port", "gRPC": "grpc_port", "metrics": "metrics_port"}[found[1]]
            setattr(self, name, int(found[2]))

    def _wait(self, seconds: float) -> None:
        __tracebackhide__ = True
        until = time.monotonic() + seconds
        with self._changed:
            while not self._initialised:
                left = until - time.monotonic()
                if self._process.poll() is not None or left <= 0:
                    break
                self._changed.wait(min(left, 0.2))
        if self._initialised:
            return
        ended = self._process.poll()
        why = (
            f"ended with code {ended}" if ended is not None else f"is not ready after {seconds:g} s"
        )
        self.kill()
        self._reader.join(_STOP_SECONDS)
        wrote = readable(self.log.splitlines())
        raise SidecarError(f"the sidecar of '{self.app_id}' {why}; it wrote:\n{wrote}")


def _ports() -> list[str]:
    # Without a number of its own, two sidecars of one app id would want the same internal port.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        internal = probe.getsockname()[1]
    return [
        "--dapr-http-port=0",
        "--dapr-grpc-port=0",
        "--metrics-port=0",
        f"--dapr-internal-grpc-port={internal}",
        "--dapr-listen-addresses=127.0.0.1",
        "--dapr-internal-grpc-listen-address=127.0.0.1",
        "--metrics-listen-address=127.0.0.1",
    ]


def write_manifests(folder: Path, manifests: Sequence[Mapping[str, Any]]) -> None:
    """One file each; JSON is YAML."""
    folder.mkdir(parents=True)
    for number, each in enumerate(manifests):
        path = folder / f"{number:02}-{each['metadata']['name']}.yaml"
        path.write_text(json.dumps(each, indent=2), encoding="utf-8")
