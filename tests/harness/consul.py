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

import trustme
from harness.http_call import Answer, call
from harness.programs import Program, free_port

_CACHE = Path.home() / ".cache" / "dapr-runtime-tools" / "bin"


def consul_program() -> str:
    """The path of the program; empty when it is not here."""
    path = os.pathsep.join([os.environ.get("PATH", ""), str(_CACHE)])
    return shutil.which("consul", path=path) or ""


class Consul(Program):
    """One server that leads itself. With a ``token`` nobody else may do anything.

    With a ``ca`` it serves HTTPS, too, to clients with a certificate of it.
    """

    def __init__(self, token: str = "", ca: trustme.CA | None = None) -> None:
        self.port = free_port()
        self._headers = {"X-Consul-Token": token} if token else {}
        self.folder = Path(tempfile.mkdtemp(prefix="consul-"))
        self._remove_folder = weakref.finalize(self, shutil.rmtree, self.folder, True)
        self.https_port = free_port()
        self.socket = self.folder / "http.sock"
        config = self._config(token)
        if ca is not None:
            self._serve_https(ca, config)
        (self.folder / "agent.json").write_text(json.dumps(config))
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
            "addresses": {"http": f"127.0.0.1 unix://{self.socket}"},
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

    def _serve_https(self, ca: trustme.CA, config: dict[str, Any]) -> None:
        files = {name: self.folder / f"{name}.pem" for name in ("ca_file", "cert_file", "key_file")}
        server = ca.issue_cert("server.dc1.consul", "127.0.0.1")
        files["ca_file"].write_bytes(ca.cert_pem.bytes())
        files["cert_file"].write_bytes(server.cert_chain_pems[0].bytes())
        files["key_file"].write_bytes(server.private_key_pem.bytes())
        paths = {name: str(path) for name, path in files.items()}
        config["tls"] = {"https": {**paths, "verify_incoming": True}}
        config["ports"]["https"] = self.https_port

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
