"""Dapr's annotations, and how their words are read."""

from __future__ import annotations

from dapr_common import words

ENABLED = "dapr.io/enabled"
APP_ID = "dapr.io/app-id"
CONFIG = "dapr.io/config"
ENABLE_METRICS = "dapr.io/enable-metrics"
METRICS_PORT = "dapr.io/metrics-port"
GRPC_PORT = "dapr.io/grpc-port"
INTERNAL_GRPC_PORT = "dapr.io/internal-grpc-port"
SERVICE_ANNOTATIONS = "dapr.io/sidecar-svc-annotations"


def is_truthy(text: str | None) -> bool:
    """Whether an annotation says yes; every other word, and none, is no."""
    return text is not None and words.is_truthy(text)
