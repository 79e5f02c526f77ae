"""The ``<app id>-dapr`` Service of a workload."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dapr_common.kube.kinds import KubeObject
from dapr_common.observe.logs import get_logger
from dapr_operator.annotations import (
    APP_ID,
    ENABLE_METRICS,
    ENABLED,
    GRPC_PORT,
    INTERNAL_GRPC_PORT,
    METRICS_PORT,
    SERVICE_ANNOTATIONS,
    is_truthy,
)
from dapr_operator.workload import Workload

_LOG = get_logger("dapr.operator.services")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_MOST_PORT = 65535
_SAME = ("clusterIP", "selector")
_PORT_PARTS = ("name", "protocol", "port", "targetPort")


class AppIdError(ValueError):
    """There can be no Service for this app id; the text says what to change."""


def app_id(workload: Workload) -> str:
    """The app id of its pods. Raises ``AppIdError``."""
    found = workload.annotations.get(APP_ID, "").strip()
    if not found:
        raise AppIdError(f"its pods have {ENABLED} but no {APP_ID}: add the annotation")
    if _LABEL.fullmatch(f"{found}-dapr") is None:
        raise AppIdError(
            f"{APP_ID} '{found}' cannot be part of a Service's name: use at most 58 lower case "
            "letters, digits and '-', with a letter or digit at both ends"
        )
    return found


def service_name(workload: Workload) -> str:
    """Raises ``AppIdError``."""
    return f"{app_id(workload)}-dapr"


def service_for(workload: Workload) -> KubeObject:
    """The Service as it shall be. Raises ``AppIdError``."""
    ports = {
        "dapr-http": (80, 3500),
        "dapr-grpc": _both(workload, GRPC_PORT, 50001),
        "dapr-internal": _both(workload, INTERNAL_GRPC_PORT, 50002),
        "dapr-metrics": _both(workload, METRICS_PORT, 9090),
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service_name(workload),
            "namespace": workload.key.namespace,
            "labels": {ENABLED: "true"},
            "annotations": _annotations(workload, ports["dapr-metrics"][0]),
            "ownerReferences": [workload.reference],
        },
        "spec": {
            "clusterIP": "None",
            "selector": dict(workload.selector),
            "ports": [
                {"name": name, "protocol": "TCP", "port": port, "targetPort": target}
                for name, (port, target) in ports.items()
            ],
        },
    }


def is_same(found: KubeObject, wanted: KubeObject) -> bool:
    """Whether a Service of the cluster is what it shall be, whatever the API server added."""
    for part in ("labels", "annotations", "ownerReferences"):
        if (found["metadata"].get(part) or {}) != wanted["metadata"][part]:
            return False
    spec, wanted_spec = found.get("spec") or {}, wanted["spec"]
    ports = [{part: port.get(part) for part in _PORT_PARTS} for port in spec.get("ports") or ()]
    same = all((spec.get(part) or {}) == wanted_spec[part] for part in _SAME)
    return same and ports == wanted_spec["ports"]


def replaced(found: KubeObject, wanted: KubeObject) -> KubeObject:
    """What makes one into the other: fields the API server gave stay."""
    metadata = {
        **wanted["metadata"],
        "resourceVersion": found["metadata"]["resourceVersion"],
    }
    return {**wanted, "metadata": metadata, "spec": {**found["spec"], **wanted["spec"]}}


def _both(workload: Workload, annotation: str, default: int) -> tuple[int, int]:
    text = workload.annotations.get(annotation, "").strip()
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    port = number if 1 <= number <= _MOST_PORT else default
    return port, port


def _annotations(workload: Workload, metrics_port: int) -> dict[str, Any]:
    found = {APP_ID: app_id(workload)}
    if is_truthy(workload.annotations.get(ENABLE_METRICS, "true")):
        found |= {
            "prometheus.io/probe": "true",
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(metrics_port),
            "prometheus.io/path": "/",
        }
    for name, text in _pairs(workload.annotations).items():
        if name in found:
            _LOG.warning(
                "%s: %s of %s is ignored, it is Dapr's", workload.key, name, SERVICE_ANNOTATIONS
            )
        else:
            found[name] = text
    return found


def _pairs(annotations: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in annotations.get(SERVICE_ANNOTATIONS, "").split(","):
        name, equals, text = pair.partition("=")
        if equals and name.strip():
            found[name.strip()] = text.strip()
    return found
