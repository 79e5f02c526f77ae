"""A node's kubelet as far as logs go: the API server asks it, over TLS, as it asks a real one."""

from __future__ import annotations

import secrets
import ssl
import threading
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trustme
from harness.kube_cluster import Cluster

from dapr_common.kube.kinds import Kind

NODES = Kind("", "v1", "nodes", namespaced=False)


@dataclass
class Kubelet:
    """One node: ``logs`` has what containers have written, by ``(namespace, pod, container)``."""

    node: str
    logs: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    queries: list[dict[str, str]] = field(default_factory=list)


@asynccontextmanager
async def kubelet(cluster: Cluster) -> AsyncIterator[Kubelet]:
    """A node of the cluster, for as long as a test needs it; pods name it in ``spec.nodeName``."""
    found = Kubelet(f"node-{secrets.token_hex(4)}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(found))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        await cluster.client.create(NODES, {"metadata": {"name": found.node}})
        await cluster.client.patch(
            NODES, found.node, {"status": _status(server.server_port)}, part="status"
        )
        yield found
        await cluster.client.delete(NODES, found.node)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _status(port: int) -> Mapping[str, Any]:
    return {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }


def _handler(kubelet: Kubelet) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place = urllib.parse.urlsplit(self.path)
            kubelet.queries.append(dict(urllib.parse.parse_qsl(place.query)))
            root, *names = place.path.strip("/").split("/")
            log = kubelet.logs.get((names[0], names[1], names[2])) if len(names) == 3 else None
            known = root == "containerLogs" and log is not None
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(log or b"" if known else b"no such container")

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
