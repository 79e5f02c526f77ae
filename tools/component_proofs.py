"""What each component is tested against, from the shared suites' table: a part of its pages.

``tests/conformance/components.toml`` names what an entry runs on; here stands how real that is.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

TABLE = Path(__file__).resolve().parents[1] / "tests" / "conformance" / "components.toml"
REAL = "real server"
EMULATOR = "emulator"
RECORDED = "stand-in"
ITSELF = "itself"
# What an entry names as ``backend`` or ``needs`` → how real it is, and what it is.
SYSTEMS: dict[str, tuple[str, str]] = {
    "redis-server": (REAL, "Redis"),
    "redis": (REAL, "Redis"),
    "redis-stack": (REAL, "RediSearch and RedisJSON"),
    "rabbitmq": (REAL, "RabbitMQ"),
    "nats": (REAL, "NATS with JetStream"),
    "nats-new": (REAL, "NATS with JetStream"),
    "kafka": (REAL, "Apache Kafka"),
    "mosquitto": (REAL, "Mosquitto"),
    "postgres": (REAL, "PostgreSQL"),
    "mysql": (REAL, "MariaDB"),
    "etcd": (REAL, "etcd"),
    "memcached": (REAL, "memcached"),
    "vault": (REAL, "HashiCorp Vault"),
    "kube-apiserver": (REAL, "the Kubernetes API server"),
    "smtp": (REAL, "aiosmtpd"),
    "dynamodb": (EMULATOR, "the vendor's DynamoDB Local"),
    "azurite": (EMULATOR, "the vendor's Azurite"),
    "pubsub": (EMULATOR, "the vendor's Pub/Sub emulator"),
    "aws": (EMULATOR, "moto"),
    "sqs": (EMULATOR, "ElasticMQ"),
    "cosmos": (EMULATOR, "a Cosmos DB server in JavaScript"),
    "mongodb": (EMULATOR, "jongodb; no real server can be had"),
    "keyvault": (EMULATOR, "a Key Vault written from its REST reference"),
    "servicebus": (EMULATOR, "a Service Bus written for these tests"),
    "gcp-secrets": (EMULATOR, "a Secret Manager written for these tests"),
}
_ELSEWHERE = {
    "nameresolution": "its own tests, each on the system it asks",
    "middleware": "its own tests",
}


def proof(key: str) -> tuple[str, str]:
    """How real, and on what: of the first entry of a ``type/version``."""
    kind = key.partition(".")[0]
    if kind in _ELSEWHERE:
        return ("see tests", _ELSEWHERE[kind])
    entry = _entries().get(key)
    if entry is None:
        return ("not tested", "")
    found = _of(entry)
    return found[0], "; ".join(part for part in (found[1], entry.get("note", "")) if part)


def table(keys: list[str]) -> list[str]:
    """Lines of the table."""
    lines = ["| component | tested against | which |", "|---|---|---|"]
    for key in keys:
        how, what = proof(key)
        lines.append(f"| `{key.removesuffix('/v1')}` | {how} | {what} |")
    return lines


def _entries() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for entries in tomllib.loads(TABLE.read_text(encoding="utf-8")).values():
        for entry in entries:
            found.setdefault(f"{entry['type']}/{entry.get('version', 'v1')}", entry)
    return found


def _of(entry: dict[str, Any]) -> tuple[str, str]:
    if system := entry.get("backend") or entry.get("needs"):
        if system not in SYSTEMS:
            raise LookupError(f"{system}: say in {__name__}.SYSTEMS how real it is")
        return SYSTEMS[system]
    if entry.get("variant") == "stand-in":
        return (RECORDED, "a stand-in written from the service's reference")
    return (ITSELF, "it needs no server")
