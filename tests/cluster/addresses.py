"""Names and addresses of the local cluster: one node, as large as this machine."""

from __future__ import annotations

from pathlib import Path

from cluster.programs import CACHE

STATE = CACHE / "cluster"
"""What the running cluster writes; gone when it is down."""
KEYS = STATE / "keys"
LOGS = STATE / "logs"
KUBECONFIG = STATE / "kubeconfig"
PROCESSES = STATE / "processes.json"
PIDS = STATE / "pids"
"""The node's programs by name: their process ids as the node counts them."""

NODE = "node"
LINK = "dapr-cluster"
"""The network interface on the machine's side."""
CGROUP = "dapr-cluster"
MACHINE_ADDRESS = "10.245.0.1"
"""Pods and the API server reach the machine here."""
NODE_ADDRESS = "10.245.0.2"
LINK_PREFIX = 30
PODS = "10.244.0.0/24"
SERVICES = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
SERVER = f"https://{NODE_ADDRESS}:6443"
PAUSE_IMAGE = "localhost/cluster/pause:1"
NODE_FILES = Path(__file__).resolve().parent / "node"
