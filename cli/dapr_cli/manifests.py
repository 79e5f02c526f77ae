"""The files ``dapr init`` writes."""

from __future__ import annotations

import json

from dapr_cli.install import Install

ZIPKIN = ("127.0.0.1", 9411)


def embedded(install: Install) -> dict[str, str]:
    """File name → a component that needs no server."""
    state, broker = install.data / "state.db", install.data / "pubsub.db"
    return {
        "statestore.yaml": _component(
            "statestore",
            "state.sqlite",
            {"connectionString": str(state), "actorStateStore": "true"},
        ),
        "pubsub.yaml": _component("pubsub", "pubsub.sqlite", {"connectionString": str(broker)}),
    }


def redis(address: str) -> dict[str, str]:
    """File name → a component on a Redis server at ``host:port``."""
    server = {"redisHost": address, "redisPassword": ""}
    return {
        "statestore.yaml": _component(
            "statestore", "state.redis", {**server, "actorStateStore": "true"}
        ),
        "pubsub.yaml": _component("pubsub", "pubsub.redis", server),
    }


def secrets(install: Install) -> dict[str, str]:
    """File name → the secret store in a local file."""
    settings = {"secretsFile": str(install.secrets)}
    return {
        "secretstore.yaml": _component("secretstore", "secretstores.local.file", settings),
    }


def configuration(*, zipkin: bool, mtls: bool = False) -> str:
    """The default Configuration; with ``zipkin`` every request is traced to it."""
    head = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: daprConfig\n"
    if not (zipkin or mtls):
        return f"{head}spec: {{}}\n"
    tracing = (
        f'  tracing:\n    samplingRate: "1"\n    zipkin:\n'
        f"      endpointAddress: http://localhost:{ZIPKIN[1]}/api/v2/spans\n"
    )
    security = "  mtls:\n    enabled: true\n    workloadCertTTL: 24h\n    allowedClockSkew: 15m\n"
    return f"{head}spec:\n{tracing if zipkin else ''}{security if mtls else ''}"


def _component(name: str, kind: str, settings: dict[str, str]) -> str:
    lines = [
        "apiVersion: dapr.io/v1alpha1",
        "kind: Component",
        "metadata:",
        f"  name: {name}",
        "spec:",
        f"  type: {kind}",
        "  version: v1",
        "  metadata:",
    ]
    for setting, value in settings.items():
        # A JSON string is a YAML string, whatever a path may hold.
        lines += [f"  - name: {setting}", f"    value: {json.dumps(value, ensure_ascii=False)}"]
    return "\n".join(lines) + "\n"
