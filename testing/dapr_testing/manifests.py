"""Manifests as plain dictionaries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Manifest = Mapping[str, Any]


def component(name: str, type: str, /, version: str = "v1", **metadata: object) -> dict[str, Any]:  # noqa: A002 - the manifest's word
    """A Component: ``component("store", "state.redis", redisHost="localhost:6379")``.

    Values that are no texts become their JSON text, as Dapr reads them.
    """
    items = [{"name": key, "value": _text(value)} for key, value in metadata.items()]
    return manifest("Component", name, {"type": type, "version": version, "metadata": items})


def manifest(
    kind: str, name: str, spec: Mapping[str, Any], version: str = "v1alpha1"
) -> dict[str, Any]:
    """Any resource of Dapr: Subscription, Resiliency, HTTPEndpoint, Configuration."""
    return {
        "apiVersion": f"dapr.io/{version}",
        "kind": kind,
        "metadata": {"name": name},
        "spec": dict(spec),
    }


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
