"""The certificates and kubeconfig files of a cluster, new for every cluster."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import trustme
from cluster.addresses import (
    API_SERVICE_ADDRESS,
    KEYS,
    KUBECONFIG,
    NODE,
    NODE_ADDRESS,
    SERVER,
    STATE,
)
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

_ADMIN = "admin"
# Program → organisation: what RBAC knows it by.
_CLIENTS = {
    _ADMIN: ("admin", "system:masters"),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
    "kube-controller-manager": ("system:kube-controller-manager", None),
    "kube-proxy": ("system:kube-proxy", None),
    "kube-scheduler": ("system:kube-scheduler", None),
}


def write_keys() -> None:
    """Everything the programs are given."""
    KEYS.mkdir(parents=True)
    KEYS.chmod(0o700)
    ca = trustme.CA(organization_name="test cluster")
    (KEYS / "ca.crt").write_bytes(ca.cert_pem.bytes())
    _write_private(KEYS / "ca.key", ca.private_key_pem.bytes())
    _write(
        ca.issue_cert(
            "localhost",
            "127.0.0.1",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            NODE_ADDRESS,
            API_SERVICE_ADDRESS,
        ),
        "apiserver",
    )
    _write_account_keys()
    for program, (name, organisation) in _CLIENTS.items():
        # The node's serves, too: the API server asks it for logs.
        names = (NODE, NODE_ADDRESS) if program == "kubelet" else (program,)
        pair = ca.issue_cert(*names, common_name=name, organization_name=organisation)
        _write(pair, program)
        path = KUBECONFIG if program == _ADMIN else STATE / f"{program}.kubeconfig"
        _write_private(path, json.dumps(_kubeconfig(ca, pair), indent=1).encode())


def _write(pair: trustme.LeafCert, name: str) -> None:
    (KEYS / f"{name}.crt").write_bytes(_chain(pair))
    _write_private(KEYS / f"{name}.key", pair.private_key_pem.bytes())


def _chain(pair: trustme.LeafCert) -> bytes:
    return b"".join(part.bytes() for part in pair.cert_chain_pems)


def _write_account_keys() -> None:
    """What service account tokens are signed with and checked against."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write_private(KEYS / "accounts.key", private)
    (KEYS / "accounts.pub").write_bytes(public)


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _kubeconfig(ca: trustme.CA, pair: trustme.LeafCert) -> dict[str, object]:
    cluster = {"server": SERVER, "certificate-authority-data": _base64(ca.cert_pem.bytes())}
    user = {
        "client-certificate-data": _base64(_chain(pair)),
        "client-key-data": _base64(pair.private_key_pem.bytes()),
    }
    context = {"cluster": "dapr", "user": "dapr", "namespace": "default"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "dapr",
        "clusters": [{"name": "dapr", "cluster": cluster}],
        "users": [{"name": "dapr", "user": user}],
        "contexts": [{"name": "dapr", "context": context}],
    }


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
