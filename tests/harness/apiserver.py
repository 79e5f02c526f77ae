"""A real Kubernetes API server with its etcd, for as long as a test needs it; no node, no pods run.

No controller runs either: service accounts are made by whoever needs them.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import ssl
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from harness.programs import Program, accepts_connections, free_port

_FOLDERS = (
    Path.home() / ".cache" / "dapr-runtime-tools" / "kube",
    Path.home() / ".cache" / "kube-kit" / "bin",
)
_ADMINS = "system:masters"


def missing_programs() -> str:
    """The names of the programs that are not here, for the reason of a skip; empty if none."""
    wanted = ("etcd", "kube-apiserver")
    return ", ".join(name for name in wanted if not _program(name))


def _program(name: str) -> str:
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, _FOLDERS)])
    return shutil.which(name, path=path) or ""


@dataclass(frozen=True)
class ApiServer:
    """Where it is, and how to log in as anybody."""

    url: str
    ca: bytes
    folder: Path
    admin: Path
    """A kubeconfig that may do everything."""
    process: Program
    etcd: str
    """Where its store is, ``http://address:port``."""

    def crash(self) -> None:
        """Kill it, and start it again where it was with what etcd has."""
        self.process.signal(signal.SIGKILL)
        self.process.wait_exit()
        self.process.start()
        self.process.wait_ready()

    def kubeconfig(self, name: str, **user: str) -> Path:
        """A kubeconfig file for a user given by its entries, such as ``token``."""
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(json.dumps(_kubeconfig(self.url, self.ca, user)))
        path.chmod(0o600)
        return path


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """Start both programs, wait until everything is served, and end them afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="apiserver-")))
        ca = trustme.CA(organization_name="test cluster")
        etcd = Etcd(folder / "etcd")
        stack.enter_context(etcd)
        server = _KubeApiServer(folder, ca, etcd.port)
        admin = ca.issue_cert("admin", common_name="admin", organization_name=_ADMINS)
        entries = {
            "client-certificate-data": _base64(admin.cert_chain_pems[0].bytes()),
            "client-key-data": _base64(admin.private_key_pem.bytes()),
        }
        path = folder / "admin.kubeconfig"
        path.write_text(json.dumps(_kubeconfig(server.url, ca.cert_pem.bytes(), entries)))
        stack.enter_context(server)
        try:
            yield ApiServer(server.url, ca.cert_pem.bytes(), folder, path, server, etcd.url)
        finally:
            if server.process.poll() is None:  # asked to end it would wait for its watches to
                server.signal(signal.SIGKILL)


class Etcd(Program):
    """One member on free ports."""

    def __init__(self, folder: Path) -> None:
        self.port, peer = free_port(), free_port()
        self.url, peers = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{peer}"
        command = [_program("etcd"), f"--data-dir={folder}", "--unsafe-no-fsync"]
        command += [f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}"]
        command += [f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}"]
        command += [f"--initial-cluster=default={peers}", "--logger=zap", "--log-level=error"]
        super().__init__(command, exit_code=None)

    def is_ready(self) -> bool:
        return accepts_connections(self.port)


class _KubeApiServer(Program):
    def __init__(self, folder: Path, ca: trustme.CA, etcd: int) -> None:
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._trust = ssl.create_default_context(cadata=ca.cert_pem.bytes().decode())
        files = _write_keys(folder, ca)
        flags = {
            "etcd-servers": f"http://127.0.0.1:{etcd}",
            "bind-address": "127.0.0.1",
            "secure-port": str(self.port),
            "service-cluster-ip-range": "10.96.0.0/24",
            "endpoint-reconciler-type": "none",
            "authorization-mode": "RBAC",
            "client-ca-file": files["ca.crt"],
            "tls-cert-file": files["server.crt"],
            "tls-private-key-file": files["server.key"],
            "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
            "service-account-key-file": files["accounts.pub"],
            "service-account-signing-key-file": files["accounts.key"],
            "profiling": "false",
            "v": "1",
        }
        command = [
            _program("kube-apiserver"),
            *(f"--{name}={text}" for name, text in flags.items()),
        ]
        super().__init__(command, exit_code=None, start_seconds=90.0, stop_seconds=60.0)

    def is_ready(self) -> bool:
        try:
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._trust)
            )
            with opener.open(f"{self.url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def _write_keys(folder: Path, ca: trustme.CA) -> dict[str, str]:
    server = ca.issue_cert("127.0.0.1", "localhost", "kubernetes.default.svc")
    accounts = ec.generate_private_key(ec.SECP256R1())
    contents = {
        "ca.crt": ca.cert_pem.bytes(),
        "server.crt": server.cert_chain_pems[0].bytes(),
        "server.key": server.private_key_pem.bytes(),
        "accounts.key": accounts.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ),
        "accounts.pub": accounts.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    return {name: str(folder / name) for name in contents}


def _kubeconfig(url: str, ca: bytes, user: dict[str, str]) -> dict[str, object]:
    cluster = {"server": url, "certificate-authority-data": _base64(ca)}
    context = {"cluster": "test", "user": "test", "namespace": "default"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": context}],
    }


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
