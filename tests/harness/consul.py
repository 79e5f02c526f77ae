"""A real Consul agent on free ports, for as long as a test needs it; its store outlives a restart.

``tools/programs.py`` builds the program when it is not on the path.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

from harness.http_call import Answer, call
from harness.programs import Program, free_port

_CACHE = Path.home() / ".cache" / "dapr-runtime-tools" / "bin"


def consul_program() -> str:
    """The path of the program; empty when it is not here."""
    path = os.pathsep.join([os.environ.get("PATH", ""), str(_CACHE)])
    return shutil.which("consul", path=path) or ""


class Consul(Program):
    """One server that leads itself. With a ``token`` nobody else may do anything."""

    def __init__(self, token: str = "") -> None:
        self.port = free_port()
        self._headers = {"X-Consul-Token": token} if token else {}
        self.folder = Path(tempfile.mkdtemp(prefix="consul-"))
        self._remove_folder = weakref.finalize(self, shutil.rmtree, self.folder, True)
        (self.folder / "agent.json").write_text(json.dumps(self._config(token)))
        command = [consul_program(), "agent", f"-config-file={self.folder / 'agent.json'}"]
        super().__init__(command, exit_code=None, start_seconds=60.0)

    def _config(self, token: str) -> dict[str, Any]:
        tokens = {"initial_management": token, "agent": token}
        acl = {"acl": {"enabled": True, "default_policy": "deny", "tokens": tokens}}
        others = ("server", "serf_lan", "serf_wan")
        return {
            **(acl if token else {}),
            "server": True,
            "bootstrap": True,
            "data_dir": str(self.folder / "data"),
            "bind_addr": "127.0.0.1",
            "client_addr": "127.0.0.1",
            "disable_update_check": True,
            "disable_host_node_id": True,
            "log_level": "warn",
            "leave_on_terminate": False,
            "connect": {"enabled": False},
            # An election on one machine needs no time to spare.
            "performance": {"raft_multiplier": 1},
            "ports": {
                "http": self.port,
                "grpc": -1,
                "grpc_tls": -1,
                "dns": -1,
                **{name: free_port() for name in others},
            },
        }

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        """Whether it has a leader and knows its own node, without which nothing is healthy."""
        try:
            return "serfHealth" in self.get("health/state/any").body.decode()
        except OSError:
            return False

    def get(self, path: str) -> Answer:
        """Read from the HTTP API."""
        return call(self.port, "GET", f"/v1/{path}", headers=self._headers)

    def register(self, name: str, port: int, service_id: str = "", **more: Any) -> None:
        """A sidecar's service, with a check that passes until it is told otherwise."""
        body: dict[str, Any] = {
            "ID": service_id or f"{name}-{port}",
            "Name": name,
            "Address": "127.0.0.1",
            "Meta": {"DAPR_PORT": str(port)},
            "Check": {
                "CheckID": f"check-{service_id or f'{name}-{port}'}",
                "TTL": "1h",
                "Status": "passing",
            },
        }
        self._put("agent/service/register", body | more)

    def fail_check(self, service_id: str) -> None:
        """Its check is critical from now on."""
        self._put(f"agent/check/fail/check-{service_id}", None)

    def pass_check(self, service_id: str) -> None:
        """Its check passes again."""
        self._put(f"agent/check/pass/check-{service_id}", None)

    def deregister(self, service_id: str) -> None:
        """Take a service out."""
        self._put(f"agent/service/deregister/{service_id}", None)

    def _put(self, path: str, body: object) -> None:
        answer = call(self.port, "PUT", f"/v1/{path}", body, self._headers)
        assert answer.status == 200, answer.body
