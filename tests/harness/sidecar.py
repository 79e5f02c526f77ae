"""A real daprd with the manifests a test gives it.

``DAPRD`` names the program (split as a shell does); the default is this environment's own.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shlex
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from harness.programs import Program, console_script, free_port

Manifest = dict[str, Any]


def daprd_command() -> list[str]:
    """The daprd under test."""
    return shlex.split(os.environ.get("DAPRD", "")) or [console_script("daprd")]


def component(name: str, kind: str, /, version: str = "v1", **metadata: object) -> Manifest:
    """A Component manifest with plain metadata values."""
    items = [{"name": key, "value": _text(value)} for key, value in metadata.items()]
    spec = {"type": kind, "version": version, "metadata": items}
    return resource("Component", name, spec)


def resource(kind: str, name: str, spec: Mapping[str, Any], version: str = "v1alpha1") -> Manifest:
    """Any other manifest of the ``dapr.io`` group."""
    return {
        "apiVersion": f"dapr.io/{version}",
        "kind": kind,
        "metadata": {"name": name},
        "spec": dict(spec),
    }


def _text(value: object) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


class Sidecar(Program):
    """One daprd on free ports, serving when the block begins and ended by SIGTERM after it.

    ``resources`` are written to a directory of their own (``resources_path``; tests may change
    it later), ``config`` is the spec of a Configuration. ``ready`` is the health route waited
    for: ``healthz``, ``healthz/outbound`` (does not wait for the app), or nothing when empty.
    """

    def __init__(
        self,
        app_id: str = "",
        *,
        resources: Iterable[Manifest] = (),
        config: Mapping[str, Any] | None = None,
        app_port: int | None = None,
        app_protocol: str = "http",
        flags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        ready: str = "healthz",
        exit_code: int | None = 0,
    ) -> None:
        self.app_id = app_id or f"app-{secrets.token_hex(4)}"  # mDNS reaches other test runs
        self.http_port, self.grpc_port, self.internal_port, self.metrics_port = (
            free_port() for _ in range(4)
        )
        self.folder = Path(tempfile.mkdtemp(prefix="daprd-"))
        self._remove_folder = weakref.finalize(self, shutil.rmtree, self.folder, True)
        self.resources_path = self.folder / "resources"
        self._ready = ready
        self._write(resources, config)
        command = [*daprd_command(), *self._flags(app_port, app_protocol, config), *flags]
        super().__init__(
            command,
            name=f"daprd {self.app_id}",
            env={"DAPR_HOST_IP": "127.0.0.1", **(env or {})},
            cwd=self.folder,
            exit_code=exit_code,
        )

    def _write(self, resources: Iterable[Manifest], config: Mapping[str, Any] | None) -> None:
        self.resources_path.mkdir()
        for number, manifest in enumerate(resources):
            name = f"{number:02}-{manifest['metadata']['name']}.yaml"
            (self.resources_path / name).write_text(yaml.safe_dump(manifest))
        if config is not None:
            text = yaml.safe_dump(resource("Configuration", "config", config))
            (self.folder / "config.yaml").write_text(text)

    def _flags(
        self, app_port: int | None, app_protocol: str, config: Mapping[str, Any] | None
    ) -> list[str]:
        values: dict[str, object] = {
            "app-id": self.app_id,
            "dapr-http-port": self.http_port,
            "dapr-grpc-port": self.grpc_port,
            "dapr-internal-grpc-port": self.internal_port,
            "metrics-port": self.metrics_port,
            "dapr-listen-addresses": "127.0.0.1",
            "resources-path": self.resources_path,
            "log-level": "debug",
        }
        if app_port is not None:
            values |= {"app-port": app_port, "app-protocol": app_protocol}
        if config is not None:
            values["config"] = self.folder / "config.yaml"
        return [f"--{name}={value}" for name, value in values.items()]

    @property
    def http_url(self) -> str:
        """``http://host:port`` of the HTTP API."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc_address(self) -> str:
        """``host:port`` of the gRPC API."""
        return f"127.0.0.1:{self.grpc_port}"

    def sdk_environment(self) -> dict[str, str]:
        """The variables by which official SDKs find this sidecar."""
        return {
            "DAPR_HTTP_PORT": str(self.http_port),
            "DAPR_GRPC_PORT": str(self.grpc_port),
            "APP_ID": self.app_id,
        }

    def is_ready(self) -> bool:
        """Whether the health route answers 204 or another success."""
        return not self._ready or self.get_status(f"/v1.0/{self._ready}", 2.0) // 100 == 2

    def get_status(self, path: str, seconds: float = 30.0) -> int:
        """The status of a GET, 0 when there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=seconds)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def ended(self) -> None:
        """Remove its files."""
        self._remove_folder()
